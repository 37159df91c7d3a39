import json

import numpy as np
import pytest

from napari_iseg.errors import InputError
from napari_iseg.evaluation.datasets import Dataset, Item
from napari_iseg.evaluation.dis import ClickedMask
from napari_iseg.evaluation.metrics import ObjectResult, Report, iou
from napari_iseg.evaluation.protocol import choose_objects, evaluate
from napari_iseg.evaluation.report import markdown, write_report


class Disks:
    """Object = disks around object clicks minus disks around background clicks; counts what it is asked."""

    name, threshold = "disks", 0.5

    def __init__(self, radius):
        self.radius, self.clicks, self.starts = radius, [], 0

    def start(self, image):
        self.shape, self.clicks = image.shape[:2], []
        self.starts += 1

    def click(self, row, col, positive):
        self.clicks.append((row, col, positive))
        probability = np.zeros(self.shape, np.float32)
        rows, cols = np.indices(self.shape)
        for r, c, sign in self.clicks:
            probability[(rows - r) ** 2 + (cols - c) ** 2 <= self.radius**2] = 0.9 if sign else 0.1
        return probability


def squares(sides, images=1, ignore=None):
    labels = np.zeros((60, 200), np.int32)
    for i, side in enumerate(sides):
        labels[5 : 5 + side, 2 + 50 * i : 2 + 50 * i + side] = i + 1
    items = tuple(
        Item(f"s{k}", "instances", lambda: np.zeros(labels.shape, np.uint8), lambda: labels, ignore=ignore)
        for k in range(images)
    )
    return Dataset("squares", items, min_area=9)


def report_of(*curves, **options):
    objects = tuple(ObjectResult("x", i, 100, 0.1, tuple(c), 0.5) for i, c in enumerate(curves))
    return Report("m", "d", objects, max_clicks=5, wall_seconds=6.0, **options)


def test_every_object_is_clicked_until_its_target():
    method = Disks(8)
    report = evaluate(method, squares([14, 30]), max_clicks=6, target_iou=0.8)
    assert method.starts == 2
    small, large = report.objects
    assert small.ious[-1] >= 0.8
    assert all(value < 0.8 for value in small.ious[:-1])
    assert len(large.ious) == 6
    assert large.ious[0] == pytest.approx(197 / 900)  # a disk of radius 8 has 197 pixels


def test_all_clicks_are_made_on_request():
    report = evaluate(Disks(8), squares([11]), max_clicks=4, stop_at_target=False)
    assert len(report.objects[0].ious) == 4
    assert report.thresholds == (0.80, 0.85, 0.90, 0.95)


def test_noc_and_failures_count_as_published():
    report = report_of([0.5, 0.86, 0.96], [0.1, 0.2, 0.3, 0.4, 0.85], [0.1] * 5)
    assert report.noc(0.85) == pytest.approx((2 + 5 + 5) / 3)
    assert report.failures(0.85) == 2, "reaching it with the last click counts as a failure, as published"
    assert report.noc(0.95) == pytest.approx((3 + 5 + 5) / 3)
    said = " ".join(markdown([report]).split())
    assert "objects that count 5: as published, those that reach t with the last click are among them" in said


def test_stopped_object_keeps_its_iou_in_the_curve():
    report = report_of([0.5, 0.97], [0.2, 0.4, 0.3, 0.6, 0.8])
    np.testing.assert_allclose(report.curve(), [0.35, 0.685, 0.635, 0.785, 0.885])
    assert report.largest_drop() == pytest.approx(0.05)
    assert report.iou_at(3) == pytest.approx(0.635)


def test_seconds_per_click_are_wall_time_over_clicks():
    report = report_of([0.97], [0.5, 0.97])
    assert report.seconds_per_click == 2.0
    assert report.seconds_per_object == 3.0
    assert report.prediction_seconds_per_click == pytest.approx(1 / 3)


def test_thresholds_beyond_the_target_are_not_told():
    assert report_of([0.9], target_iou=0.9).thresholds == (0.80, 0.85, 0.90)


def test_iou_leaves_ignored_pixels_out():
    truth = np.array([[1, 1, 0, -1]], np.int8)
    assert iou(np.array([[True, False, True, True]]), truth) == pytest.approx(1 / 3)


def test_scale_bins_hold_every_object_once():
    report = evaluate(Disks(8), squares([4, 11, 30]), max_clicks=2, scale_bounds=(0.05, 0.2))
    counts = [part["objects"] for part in report.by_scale()]
    assert counts == [1, 1, 1]
    assert report.by_scale()[0]["to"] == report.by_scale()[1]["from"] == 0.05


def test_chosen_objects_are_spread_and_repeatable():
    dataset = squares([10, 11, 12, 13], images=5)
    chosen = choose_objects(dataset, max_objects=7, seed=1)
    assert sorted(len(ids) for ids in chosen.values()) == [1, 1, 1, 2, 2]
    assert chosen == choose_objects(dataset, max_objects=7, seed=1)
    assert chosen != choose_objects(dataset, max_objects=7, seed=2)
    assert all(len(ids) == 3 for ids in choose_objects(dataset, max_per_image=3).values())


def test_progress_counts_objects():
    seen = []
    evaluate(Disks(5), squares([10, 12], images=2), max_clicks=1, on_progress=lambda *n: seen.append(n))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_bad_options_are_refused():
    with pytest.raises(InputError, match="target IoU"):
        evaluate(Disks(5), squares([10]), target_iou=0.5)
    with pytest.raises(InputError, match="no object of at least"):
        evaluate(Disks(5), squares([]))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"max_objects": -30}, "max_objects must be a whole number of at least 1, or None for all, got -30"),
        ({"max_objects_per_image": -2}, "max_objects_per_image must be .* got -2"),
        ({"max_objects": 1.5}, "max_objects must be .* got 1.5"),
        ({"max_clicks": 2.5}, "max_clicks must be a whole number of at least 1, got 2.5"),
        ({"max_clicks": "3"}, "max_clicks must be .* got '3'"),
        ({"max_clicks": True}, "max_clicks must be .* got True"),
        ({"max_clicks": None}, "max_clicks must be .* got None"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"target_iou": "all"}, "target IoU from 0.8 to 1, got 'all'"),
        ({"model": 5}, "needs a model, its name or path, .* got a int"),
        ({"dataset": None}, "opened by its path, got a NoneType"),
        ({"dataset": ["a", "b"]}, "opened by its path, got a list"),
    ],
)
def test_options_that_cannot_be_are_refused(options, named):
    with pytest.raises(InputError, match=named):
        evaluate(**{"model": Disks(5), "dataset": squares([10]), **options})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"name": None}, r"this Disks also a name \(a string\)\.$"),
        ({"threshold": None}, r"this Disks also a threshold \(a number"),
        ({"threshold": float("nan")}, "also a threshold"),
        ({"name": None, "threshold": "0.5", "start": 5}, r"also start\(\) and a name .* and a threshold"),
    ],
)
def test_an_own_method_that_lacks_something_is_refused_before_any_click(changes, named):
    method = Disks(5)
    vars(method).update(changes)
    with pytest.raises(InputError, match=named):
        evaluate(method, squares([10]))
    assert not method.clicks
    with pytest.raises(InputError, match=r"of the class: Disks\(\)"):
        evaluate(Disks, squares([10]))


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (np.zeros((60, 199)), r"'disks' .* each of 60 x 200 pixels, got float64 of shape \(60, 199\)"),
        (np.full((60, 200), np.nan), "got NaN in it"),
        (None, "got object of shape"),
    ],
)
def test_an_answer_that_is_no_mask_is_refused(answer, named):
    method = Disks(5)
    method.click = lambda *_: answer
    with pytest.raises(InputError, match=named):
        evaluate(method, squares([10]))
    with pytest.raises(InputError, match=named):
        ClickedMask(method).mask(np.zeros((60, 200)), squares([10])[0].truth(1), 0)


def test_an_own_method_may_call_something_of_its_own_its_model():
    method = Disks(5)
    method.model = object()
    assert "weights_sha256" not in evaluate(method, squares([10]), max_clicks=1).run


def test_report_files_hold_what_was_measured(tmp_path):
    reports = [evaluate(Disks(r), squares([11, 30]), max_clicks=5) for r in (6, 9)]
    files = write_report(reports, tmp_path / "out")
    assert sorted(f.name for f in files) == [
        "report.json",
        "report.md",
        "squares_curve.png",
        "squares_noc.png",
    ]
    assert not list((tmp_path / "out").glob("*.part"))
    stored = json.loads((tmp_path / "out" / "report.json").read_text())
    assert stored[0]["noc"]["0.85"] == reports[0].noc(0.85)
    assert stored[1]["objects"][1]["ious"] == list(reports[1].objects[1].ious)
    assert f"{reports[0].noc(0.9):.2f}" in markdown(reports)
    assert (tmp_path / "out" / "squares_curve.png").read_bytes().startswith(b"\x89PNG")


def test_report_without_matplotlib_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_iseg.evaluation.plots.find_spec", lambda name: None)
    report = report_of([0.9])
    with pytest.raises(InputError, match=r"run: pip install 'napari-iseg\[train\]'\.$"):
        write_report([report], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert len(write_report([report], tmp_path / "out", plots=False)) == 2
