"""Labels that come during a few-shot run or after it: listed as new, and said, at once."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from qtpy.QtWidgets import QApplication

from .conftest import NO_WINDOW
from .fewshot_bench import TRUTH, VOLUME, sparse

if NO_WINDOW is None:
    from napari_iseg.widgets import fewshot_request

CHANGED = "Labels have changed; Run brings the rest up to date."


def listed(fewshot: Any) -> list[str]:
    rows = fewshot.dock.supports
    return [rows.item(i).text().split("\n")[0] for i in range(rows.count())]


def paint(fewshot: Any, *places: tuple[int, ...]) -> None:
    """Brush strokes, which are looked at from the event loop."""
    for place in places:
        fewshot.viewer.layers["some"].paint(place, 1)
    QApplication.processEvents()


def begin(fewshot: Any) -> None:
    """A run from slice 0 that is shown and goes on for a while."""
    fewshot.open(labels=sparse(TRUTH, 0).astype(np.uint8))
    fewshot.fake.slow = 0.3
    fewshot.dock.run_button.click()
    fewshot.qtbot.waitUntil(lambda: len(fewshot.fake.calls) > 1, timeout=30_000)


def test_painted_after_a_run_it_is_new_and_painted_away_it_is_not(fewshot):
    dock = fewshot.open(labels=sparse(TRUTH, 0, 2).astype(np.uint8))
    fewshot.run()
    layer, done = fewshot.viewer.layers["some"], dock.status.text()
    layer.refresh()  # as when it is hidden and shown
    fewshot.settle()
    assert dock.status.text() == done
    paint(fewshot, (4, 6, 6), (2, 6, 12))
    fewshot.settle()
    assert listed(fewshot) == ["0 · labelled", "2 · labelled, changed", "4 · labelled, new"]
    assert not dock.supports.item(2).icon().isNull()
    assert dock.status.text() == CHANGED
    layer.undo()
    layer.undo()
    fewshot.settle()
    assert listed(fewshot) == ["0 · labelled", "2 · labelled"]
    assert dock.status.text() == "The labels are those of the run."
    layer.data[2] = 0
    layer.refresh()
    fewshot.settle()
    assert (listed(fewshot), dock.status.text()) == (["0 · labelled"], CHANGED)
    fewshot.run()
    assert dock.status.text().startswith("Done. 4 slices computed")
    assert CHANGED not in dock.status.text()
    assert listed(fewshot) == ["0 · labelled"]


def test_committed_after_a_run_it_is_new(bench, fewshot):
    fewshot.viewer = bench.viewer
    dock = fewshot.open(np.full((5, 64, 64), 80, np.uint8))
    bench.open()
    fewshot.commit(bench, 1)
    fewshot.run()
    fewshot.commit(bench, 3)
    assert listed(fewshot) == ["1 · labelled", "3 · labelled, new"]
    assert dock.status.text() == CHANGED


def test_the_last_slice_that_was_not_annotated_goes_into_the_result(fewshot):
    dock = fewshot.open(labels=sparse(TRUTH, 0, 1, 2, 4).astype(np.uint8))
    fewshot.run()
    paint(fewshot, (3, 2, 2))
    fewshot.settle()
    assert (listed(fewshot)[3], dock.status.text()) == ("3 · labelled, new", CHANGED)
    fewshot.run()
    assert dock.status.text() == "Done. Nothing is left to predict."
    assert listed(fewshot)[3].startswith("3 · labelled")
    assert "new" not in listed(fewshot)[3]
    np.testing.assert_array_equal(fewshot.result, fewshot.viewer.layers["some"].data)


def test_in_mid_run_it_is_said_at_once_and_at_the_end(fewshot):
    begin(fewshot)
    dock = fewshot.dock
    paint(fewshot, (4, 6, 6))
    fewshot.qtbot.waitUntil(lambda: listed(fewshot) == ["0 · labelled", "4 · labelled, new"], timeout=30_000)
    assert dock.controller.running
    assert dock.status.text() == "Labels have changed; Run anew brings the rest up to date."
    fewshot.fake.slow = 0
    fewshot.settle()
    assert dock.status.text().startswith("Done. 5 slices computed")
    assert dock.status.text().endswith(CHANGED)
    assert listed(fewshot) == ["0 · labelled", "4 · labelled, new"]


def test_what_comes_too_late_for_a_run_that_prepares_is_new_to_it(fewshot, monkeypatch):
    read, painted, taken = fewshot_request.labelled, threading.Event(), threading.Event()

    def labelled(*given: Any) -> Any:
        found = read(*given)
        taken.set()
        assert painted.wait(30)
        return found

    monkeypatch.setattr(fewshot_request, "labelled", labelled)
    dock = fewshot.open(labels=sparse(TRUTH, 0).astype(np.uint8))
    dock.run_button.click()
    assert taken.wait(30)
    paint(fewshot, (4, 6, 6))
    painted.set()
    fewshot.settle()
    assert dock.status.text().endswith(CHANGED)
    assert listed(fewshot)[1] == "4 · labelled, new"


def test_a_run_of_other_labels_hears_nothing_of_them(fewshot):
    begin(fewshot)
    dock = fewshot.dock
    fewshot.fake.slow = 0
    fewshot.settle()
    dock.labels.setCurrentIndex(0)
    dock.labels.activated.emit(0)
    paint(fewshot, (4, 6, 6))
    fewshot.settle()
    assert listed(fewshot) == ["0 · labelled"]
    assert dock.status.text().startswith("The result stays")


def test_of_a_scene_the_tile_is_new(fewshot):
    scene, truth = np.tile(VOLUME[0], (6, 6)), np.tile(TRUTH[0], (6, 6))
    labels = np.zeros_like(truth, np.uint8)
    labels[:24, :24] = truth[:24, :24]
    dock = fewshot.open(scene, labels)
    assert dock.accept_button.isHidden()
    assert dock.reject_button.isHidden()
    dock.tile.setValue(64)
    fewshot.run()
    before = listed(fewshot)
    paint(fewshot, (130, 130))
    fewshot.settle()
    assert listed(fewshot) == [*before, "tile 80,80 · labelled, new"]
    assert dock.status.text() == CHANGED
    fewshot.viewer.layers["some"].undo()
    fewshot.viewer.add_image(VOLUME, name="stack")
    dock.image.setCurrentIndex(0)
    dock.image.activated.emit(0)
    assert not dock.accept_button.isHidden()
