"""A box that was dragged stays selected, as the clicks do: Delete and the next corner need no new choice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_iseg.prompts import Box
from napari_iseg.widgets.scene import to_world

from .conftest import Bench
from .napari_versions import camera_of
from .test_boxes import BoxLoader, drag

IMAGE = np.random.default_rng(0).integers(0, 255, (128, 128), dtype=np.uint8)
LEFT, NONE = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier


@pytest.fixture
def shown(make_napari_viewer: Any, qtbot: Any, tmp_path: Any) -> Iterator[Bench]:
    made = Bench(make_napari_viewer(show=True), qtbot, tmp_path)
    made.loader = BoxLoader()
    yield made
    made.dock.shut_down()
    assert made.dock.controller.worker.join(10)


def canvas(bench: Bench) -> Any:
    return bench.viewer.window._qt_viewer.canvas.native


def pixel(bench: Bench, point: tuple[float, float]) -> QPoint:
    """Where a place of the box's layer is on the canvas."""
    camera, size = camera_of(bench.viewer), canvas(bench).size()
    y, x = to_world(bench.viewer, bench.editor.layers.boxes.layer, point)
    across = size.width() / 2 + (x - camera.center[-1]) * camera.zoom
    down = size.height() / 2 + (y - camera.center[-2]) * camera.zoom
    return QPoint(round(across), round(down))


def drag_with_the_mouse(bench: Bench, start: tuple[float, float], end: tuple[float, float]) -> None:
    widget, first, last = canvas(bench), pixel(bench, start), pixel(bench, end)
    QTest.mouseMove(widget, first)
    QTest.mousePress(widget, LEFT, NONE, first)
    for step in range(1, 9):
        at = QPointF(first + (last - first) * step / 8)
        there = QPointF(widget.mapToGlobal(at.toPoint()))
        move = QMouseEvent(QEvent.Type.MouseMove, at, there, Qt.MouseButton.NoButton, LEFT, NONE)
        QApplication.sendEvent(widget, move)
        QTest.qWait(10)
    QTest.mouseRelease(widget, LEFT, NONE, last)
    bench.qtbot.wait(30)
    bench.settle()


def corner_of(layer: Any) -> Any:
    """The handle at the lower right."""
    handles = np.asarray(layer._selected_box)
    return handles[handles.sum(1).argmax()]


@pytest.fixture
def boxed(shown: Bench) -> Bench:
    shown.viewer.add_image(IMAGE)
    shown.open()
    shown.qtbot.wait(50)
    shown.do("box")
    drag(shown, (19.5, 29.5), (59.5, 99.5))
    layer = shown.editor.layers.boxes.layer
    shown.viewer.layers.selection.active = layer
    layer.mode = "select"
    shown.qtbot.wait(50)
    QTest.mouseClick(canvas(shown), LEFT, NONE, pixel(shown, (40, 60)))
    shown.qtbot.wait(30)
    assert set(layer.selected_data) == {0}
    return shown


def test_a_box_whose_corner_was_dragged_is_selected_still_and_can_be_deleted(boxed: Bench) -> None:
    layer = boxed.editor.layers.boxes.layer
    for corner in (70.5, 80.5):
        drag_with_the_mouse(boxed, corner_of(layer), (corner, corner + 40))
        box = boxed.editor.session.current_box
        assert (box.row0, box.col0) == pytest.approx((20, 30))
        assert (box.row1, box.col1) == pytest.approx((corner + 0.5, corner + 40.5), abs=1)
        assert set(layer.selected_data) == {0}
        assert layer._selected_box is not None  # its handles
    QTest.keyClick(canvas(boxed), Qt.Key.Key_Delete)
    boxed.qtbot.wait(30)
    boxed.settle()
    assert boxed.editor.session.current_box is None
    assert layer.nshapes == 0


def test_an_undone_drag_shows_the_earlier_box(boxed: Bench) -> None:
    layer = boxed.editor.layers.boxes.layer
    drag_with_the_mouse(boxed, corner_of(layer), (70.5, 110.5))
    boxed.do("undo")
    assert boxed.editor.session.current_box == Box(20, 30, 60, 100)
    np.testing.assert_allclose(layer.data[0].min(0), (19.5, 29.5))
    np.testing.assert_allclose(layer.data[0].max(0), (59.5, 99.5))
