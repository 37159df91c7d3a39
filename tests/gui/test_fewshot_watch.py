"""What the few-shot dock hears of a labels layer: brush, polygon, and what came while it was hidden."""

from __future__ import annotations

from typing import Any

import numpy as np
import zarr
from qtpy.QtWidgets import QApplication

from .conftest import NO_WINDOW

if NO_WINDOW is None:
    from napari_iseg.widgets.fewshot_watch import LabelsWatch

CORNERS = [[2, 2], [2, 12], [12, 12], [12, 2]]


def polygon(layer: Any, plane: int) -> None:
    layer.paint_polygon([[plane, *corner] for corner in CORNERS], 1)


def test_a_polygon_is_heard_of_once_it_is_in_the_array(make_napari_viewer, qtbot, tmp_path):
    viewer, heard = make_napari_viewer(), []
    layer = viewer.add_labels(zarr.create_array(tmp_path / "labels.zarr", shape=(5, 24, 24), dtype="i4"))
    watch = LabelsWatch(viewer, lambda: heard.append(int(np.count_nonzero(layer.data[:]))))
    watch.follow(layer)
    viewer.dims.set_point(0, 3)
    polygon(layer, 3)
    qtbot.waitUntil(lambda: bool(heard))
    assert heard[0] == np.count_nonzero(layer.data[3]) > 0
    layer.fill((4, 5, 5), 1)
    watch.follow(None)
    heard.clear()
    QApplication.processEvents()
    assert heard == [], "the dock may be closed by then"


def test_what_came_while_the_layer_was_hidden_is_listed_when_it_is_shown(bench, fewshot):
    fewshot.viewer = bench.viewer
    dock = fewshot.open(np.full((5, 64, 64), 80, np.uint8))
    bench.open()
    fewshot.commit(bench, 1)
    fewshot.run()
    layer = dock.controller.annotations.labels
    layer.visible = False
    fewshot.commit(bench, 3)
    bench.viewer.dims.set_point(0, 4)
    layer.visible = True
    fewshot.settle()
    assert dock.supports.count() == 2
    assert dock.supports.item(1).text().startswith("3 · labelled, new")
