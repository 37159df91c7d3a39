"""The dock on a scene: no slices are offered, and the list of annotated tiles leads to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from .fewshot_bench import TRUTH, VOLUME, sparse
from .napari_versions import camera_of

RANGE = 2


@pytest.fixture
def tiles(fewshot: Any) -> Any:
    """The dock after a run on a scene with three annotated tiles."""
    scene, labels = np.tile(VOLUME[0], (16, 16)), np.zeros((384, 384), np.uint8)
    for row, col in ((0, 0), (200, 200), (300, 100)):
        labels[row : row + 24, col : col + 24] = TRUTH[0] > 0
    dock = fewshot.open(scene, labels)
    dock.tile.setValue(128)
    fewshot.run()
    assert dock.supports.count() == 3
    return dock


def test_a_row_is_the_way_to_its_tile(fewshot, tiles):
    camera = camera_of(fewshot.viewer)
    rows = tiles.supports
    rows.itemClicked.emit(rows.item(1))
    assert camera.center[-2:] == pytest.approx((211.5, 211.5), abs=16)
    rows.setCurrentRow(2)
    QTest.keyClick(rows, Qt.Key.Key_Return)
    assert camera.center[-2:] == pytest.approx((311.5, 111.5), abs=16)


def test_who_is_on_a_row_stays_on_its_tile(fewshot, tiles):
    tiles.supports.setCurrentRow(2)
    labels = fewshot.viewer.layers["some"]
    labels.data[100:104, 300:304] = 1
    labels.refresh()
    fewshot.settle()
    assert (tiles.supports.count(), tiles.supports.currentRow()) == (4, 3)


def test_a_row_leads_to_its_slice_before_there_is_a_run(fewshot):
    dock = fewshot.open(labels=sparse(TRUTH, 1, 3).astype(np.uint8))
    fewshot.settle()
    for row, plane in ((1, 3), (0, 1)):
        dock.supports.itemClicked.emit(dock.supports.item(row))
        assert fewshot.viewer.dims.current_step[0] == plane


def test_a_scene_has_no_range_of_slices(fewshot):
    dock = fewshot.open(labels=sparse(TRUTH, 1).astype(np.uint8))
    offered = lambda: bool(dock.region.model().item(RANGE).isEnabled())  # noqa: E731
    assert offered()
    dock.region.setCurrentIndex(RANGE)
    scene = fewshot.viewer.add_image(VOLUME[0], name="scene")
    dock.image.choose(scene)
    dock.image.activated.emit(dock.image.currentIndex())
    assert (offered(), dock.region.currentText(), dock.range.isVisibleTo(dock)) == (
        False,
        "whole image",
        False,
    )
    fewshot.viewer.layers.remove("scene")
    assert offered()
