"""Accept and Reject where they would lose something: a slice that was run in part, a result that is gone."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest

from napari_iseg.fewshot.decisions import Decisions
from napari_iseg.fewshot.preparing import run_folder

from .conftest import NO_WINDOW
from .fewshot_bench import TRUTH, sparse

if NO_WINDOW is None:
    from napari_iseg.widgets.trust_strip import SUPPORT

ONE = sparse(TRUTH, 0).astype(np.uint8)


@pytest.fixture
def said(monkeypatch: Any) -> list[str]:
    """What was warned of."""
    words: list[str] = []
    for module in ("reports", "fewshot_controller"):
        monkeypatch.setattr(f"napari_iseg.widgets.{module}.warn", words.append)
    return words


def press(fewshot: Any, button: Any) -> None:
    button.click()
    fewshot.settle()


def test_a_slice_that_was_run_inside_polygons_is_accepted_once_it_was_run_whole(fewshot, said):
    dock = fewshot.open(labels=ONE)
    fewshot.viewer.add_shapes([[(2, 2), (2, 9), (9, 9), (9, 2)]], shape_type="polygon", name="area")
    dock.region.setCurrentText("inside area")
    fewshot.run()
    fewshot.show(3)
    press(fewshot, dock.accept_button)
    assert "The last run of this slice was inside the polygons only" in said[-1]
    assert dock.controller.results.decisions.accepted == set()
    assert dock.supports.count() == 1
    dock.region.setCurrentText("whole image")
    fewshot.run()
    assert fewshot.result[3, 10:].any()
    press(fewshot, dock.accept_button)
    assert (len(said), fewshot.cells[3]) == (1, SUPPORT)


def test_a_region_around_everything_hides_nothing(fewshot, said):
    dock = fewshot.open(labels=ONE)
    fewshot.viewer.add_shapes([[(-1, -1), (-1, 40), (40, 40), (40, -1)]], shape_type="polygon", name="area")
    dock.region.setCurrentText("inside area")
    fewshot.run()
    fewshot.show(3)
    press(fewshot, dock.accept_button)
    assert (said, fewshot.cells[3]) == ([], SUPPORT)


@pytest.mark.parametrize("all_of_it", [False, True])
def test_where_the_result_was_deleted_nothing_is_decided_and_run_makes_it_anew(fewshot, said, all_of_it):
    dock = fewshot.open(labels=ONE)
    fewshot.run()
    for plane in (2, 4):
        fewshot.show(plane)
        press(fewshot, dock.accept_button)
    results = dock.controller.results
    out, cells = results.output.path, fewshot.cells.copy()
    shutil.rmtree(out)
    if all_of_it:
        shutil.rmtree(run_folder(out))
    for plane, button in ((3, dock.accept_button), (3, dock.reject_button), (4, dock.reject_button)):
        fewshot.show(plane)
        press(fewshot, button)
        assert "The result was deleted; Run makes it anew" in said[-1]
    assert (len(said), out.exists()) == (3, False)
    np.testing.assert_array_equal(fewshot.cells, cells)
    fewshot.run()
    assert fewshot.result[2:].any((1, 2)).all()
    assert (fewshot.cells[2:] != SUPPORT).all(), "what was accepted is gone with the result"
    fewshot.show(3)
    press(fewshot, dock.accept_button)
    assert dock.controller.results.decisions.accepted == Decisions(run_folder(out)).accepted == {(3,)}
