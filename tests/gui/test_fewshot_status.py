"""The line of words is true of what is chosen now, and advises before a run."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest

from .conftest import NO_WINDOW
from .fewshot_bench import TRUTH, VOLUME, sparse

if NO_WINDOW is None:
    from napari_iseg.fewshot.frame import Frame
    from napari_iseg.widgets.fewshot_advice import advice_on, all_single
    from napari_iseg.widgets.fewshot_run import annotated_rows
    from napari_iseg.widgets.fewshot_view import HOW

ONE = sparse(TRUTH == 1, 0).astype(np.uint8)


def test_of_another_image_or_none_nothing_is_said_that_was_true_of_the_one_before(fewshot):
    dock = fewshot.open(labels=ONE)
    fewshot.run()
    for another in (None, VOLUME[:, ::-1].copy()):
        fewshot.viewer.layers.clear()
        if another is not None:
            fewshot.viewer.add_image(another)
        fewshot.settle()
        assert (dock.status.text(), dock.progress.value()) == (HOW, 0)
        if another is None:
            fewshot.viewer.add_image(VOLUME, name="stack")
            fewshot.settle()
            assert "There is an earlier result of this image" in dock.status.text()


def test_an_image_that_goes_in_mid_run_leaves_neither_words_nor_progress(fewshot):
    dock = fewshot.open(labels=ONE)
    fewshot.fake.slow = 0.2
    dock.run_button.click()
    fewshot.qtbot.waitUntil(lambda: dock.progress.value() > 0, timeout=30_000)
    fewshot.viewer.layers.clear()
    fewshot.settle()
    assert (dock.status.text(), dock.progress.value()) == (HOW, 0)


def test_of_other_labels_nothing_is_said_that_was_true_of_those_before(fewshot):
    dock = fewshot.open(labels=ONE)
    fewshot.run()
    dock.shut_down()
    fewshot.viewer.layers.clear()
    fewshot.open(labels=ONE)
    dock = fewshot.dock
    fewshot.settle()
    assert "There is an earlier result" in dock.status.text()
    fewshot.viewer.add_labels(np.zeros_like(ONE), name="others")
    dock.labels.setCurrentText("others")
    dock.labels.activated.emit(dock.labels.currentIndex())
    fewshot.settle()
    assert dock.status.text() == HOW


def test_where_results_cannot_be_looked_for_nothing_is_said_of_one(fewshot):
    fewshot.open(labels=ONE)
    fewshot.run()
    fewshot.dock.shut_down()
    fewshot.viewer.layers.clear()
    dock = fewshot.open(labels=ONE)
    fewshot.settle()
    assert "There is an earlier result" in dock.status.text()
    shutil.rmtree(dock.controller.folder)
    dock.tile.setValue(256)
    fewshot.settle()
    assert dock.status.text() == HOW


def three_objects() -> Any:
    labels = np.zeros(TRUTH.shape, np.uint8)
    labels[0, 2:6, 2:6], labels[0, 10:14, 2:6], labels[2, 2:6, 2:6] = 1, 2, 3
    return labels


def test_labels_of_one_object_on_one_slice_each_are_advised_on_until_they_are_none(fewshot):
    dock = fewshot.open(labels=three_objects())
    fewshot.settle()
    assert "these 3 are one object on one slice each" in dock.status.text()
    layer = fewshot.viewer.layers["some"]
    layer.data[3, 2:6, 2:6] = 3
    layer.refresh()
    fewshot.settle()
    assert dock.status.text() == HOW


@pytest.mark.parametrize(
    ("change", "advised"),
    [
        (lambda v: None, True),
        (lambda v: v.__setitem__((0, 20, 20), 1), True),  # a speck beside an object
        (lambda v: v.__setitem__((0, slice(16, 20), slice(16, 20)), 1), False),  # two objects of one kind
        (lambda v: v.__setitem__((4, slice(2, 6), slice(2, 6)), 1), False),  # on two slices
        (lambda v: v.__setitem__(v == 3, 0), False),  # a slice of two classes
    ],
)
def test_advice_is_only_on_single_objects(change, advised):
    labels, frame = three_objects(), Frame.of(TRUTH.shape)
    labels[0, 2:8, 2:8] = 1
    change(labels)
    never = lambda: False  # noqa: E731
    source = type("Source", (), {"shape": TRUTH.shape[1:], "read": lambda *_: np.zeros((24, 24, 3), "f4")})()
    refs = [row.ref for row in annotated_rows(source, labels, frame, never)]
    assert bool(advice_on(refs, labels, frame, never)) == advised


def test_high_labels_take_no_room():
    mask = np.zeros((4, 6), np.int32)
    mask[:, :2], mask[:, 3:5] = 2**31 - 1, -1
    assert all_single(mask)
