"""Results by object size: bounds, bins, the table, and the way back from JSON."""

from __future__ import annotations

import json

import pytest

from napari_iseg.errors import InputError
from napari_iseg.evaluation.metrics import ObjectResult, Report
from napari_iseg.evaluation.report import finite, markdown, scale_table
from napari_iseg.evaluation.scales import bounds_sentence, checked_bounds, pooled, scale_rows


def report(method: str, dataset: str, sides: dict[float, float], **options) -> Report:
    """Objects of these relative sides, each with an IoU after its first click; the second gives 0.95."""
    objects = [
        ObjectResult(f"image{i}", 1, int(side**2 * 10_000), side, (iou, 0.95), 0.1)
        for i, (side, iou) in enumerate(sides.items())
    ]
    return Report(method, dataset, tuple(objects), max_clicks=4, scale_bounds=(0.1, 0.3), **options)


TWO = [
    report("a", "cells", {0.05: 0.2, 0.1: 0.4, 0.5: 0.9}),
    report("b", "cells", {0.05: 0.6, 0.1: 0.8, 0.5: 0.7}),
    report("a", "roofs", {0.2: 0.5}),
    report("b", "roofs", {0.2: 0.1}),
]


def test_methods_stand_below_one_another_in_every_bin():
    head, rows = scale_rows(TWO)
    assert head == ["data set", "method", "relative side", "objects", "NoC@85", "NoC@90", "IoU@1", "IoU@5"]
    of_cells = [row[1:4] + row[6:7] for row in rows if row[0] == "cells"]
    assert of_cells == [
        ["a", "0 to 0.1", "2", "0.300"],  # an object on the bound belongs below it
        ["b", "0 to 0.1", "2", "0.700"],
        ["a", "0.3 to 1", "1", "0.900"],
        ["b", "0.3 to 1", "1", "0.700"],
    ]
    assert [row[7] for row in rows] == [""] * len(rows)  # only four clicks were made


def test_all_sets_together_count_every_object_once():
    both = pooled(TWO)
    assert [(r.method, r.dataset, len(r.objects)) for r in both] == [
        ("a", "all sets", 4),
        ("b", "all sets", 4),
    ]
    rows = [row for row in scale_rows(TWO)[1] if row[0] == "all sets"]
    assert [row[1:4] for row in rows if row[1] == "a"] == [
        ["a", "0 to 0.1", "2"],
        ["a", "0.1 to 0.3", "1"],
        ["a", "0.3 to 1", "1"],
    ]
    assert pooled(TWO[:2]) == []


def test_the_report_states_the_bounds():
    assert "Bins end at 0.1, 0.3 and 1" in bounds_sentence((0.1, 0.3))
    assert "Bins end at 0.1, 0.3 and 1" in markdown(TWO)
    assert scale_table(TWO) in markdown(TWO)
    stored = json.loads(json.dumps(finite(TWO[0].to_dict())))
    assert stored["protocol"]["scale_bounds"] == [0.1, 0.3]


def test_a_report_comes_back_from_json():
    first = report("a", "cells", {0.05: 0.2, 0.5: 0.9}, wall_seconds=3.0)
    again = Report.from_dict(json.loads(json.dumps(finite(first.to_dict()))))
    assert again == first
    empty = report("a", "none", {})
    assert Report.from_dict(json.loads(json.dumps(finite(empty.to_dict())))) == empty


@pytest.mark.parametrize(
    "bounds", [(), (0.3, 0.1), (0.1, 0.1), (0.0, 0.5), (0.5, 1.0), (float("nan"),), None, "ab", 0.5]
)
def test_bounds_that_make_no_bins_are_refused(bounds):
    with pytest.raises(InputError, match="must ascend between 0 and 1"):
        checked_bounds(bounds)
