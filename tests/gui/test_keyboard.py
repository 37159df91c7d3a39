"""Keys in fields are the fields' own; on the canvas and after a button they are the dock's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication, QLineEdit, QListWidget, QWidget

from .conftest import Bench

IMAGE = np.random.default_rng(0).integers(0, 255, (3, 128, 128), dtype=np.uint8)
KEY = Qt.Key


class Window:
    """The dock in a shown window that has the keyboard, with an open object of one click."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.qtbot = bench, bench.qtbot
        bench.viewer.add_image(IMAGE)
        self.dock = bench.open()
        self.main.activateWindow()
        self.qtbot.waitUntil(self.main.isActiveWindow)
        bench.click((1, 60, 60))

    @property
    def main(self) -> QWidget:
        return self.bench.viewer.window._qt_window

    def press(self, key: Any, modifier: Any = Qt.KeyboardModifier.NoModifier) -> None:
        """A key, which goes to the widget that has the keyboard, or to the window."""
        self.qtbot.keyClick(QApplication.focusWidget() or self.main, key, modifier)
        self.bench.settle()

    def focus(self, widget: QWidget) -> None:
        widget.setFocus()
        assert QApplication.focusWidget() is widget or widget.focusProxy() is not None

    @property
    def open_and_committed(self) -> tuple[int, tuple[int, ...]]:
        session = self.bench.editor.session
        return len(session.clicks), tuple(session.objects)


@pytest.fixture
def window(make_napari_viewer: Any, qtbot: Any, tmp_path: Any) -> Any:
    made = Bench(make_napari_viewer(show=True), qtbot, tmp_path)
    yield Window(made)
    made.dock.shut_down()
    assert made.dock.controller.worker.join(10)


def test_enter_and_esc_in_a_field_confirm_or_call_off_what_is_typed_there(window):
    dock, main = window.dock, window.main
    numbers = QListWidget(main)
    numbers.show()
    name = QLineEdit(main)
    name.show()
    before = window.open_and_committed
    fields = (dock.options.steps, dock.options.threshold._label, dock.label, numbers, name, dock.device)
    for field in fields:
        window.focus(field)
        for key in (KEY.Key_Escape, KEY.Key_Return, KEY.Key_Enter):
            window.press(key)
            assert window.open_and_committed == before, (field, key)
            assert (field is dock.device) == ("list has the keyboard" in dock.status.text())
    window.focus(dock.label)
    dock.label.selectAll()
    for key in (KEY.Key_7, KEY.Key_Return):
        window.press(key)
    assert window.bench.editor.session.object_id == 7
    assert window.open_and_committed == before


def test_the_slice_field_of_napari_goes_to_the_slice_and_commits_nothing(window):
    field = next(edit for edit in window.main.findChildren(QLineEdit) if edit.objectName() == "slice_label")
    window.focus(field)
    field.selectAll()
    before = window.open_and_committed
    for key in (KEY.Key_1, KEY.Key_Return):
        window.press(key)
    assert window.bench.viewer.dims.current_step[0] == 1
    assert window.open_and_committed == before


def test_keys_work_on_the_canvas_in_the_layer_list_and_after_a_button(window):
    viewer, dock = window.bench.viewer.window._qt_viewer, window.dock
    window.focus(viewer.canvas.native)
    window.press(KEY.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert window.open_and_committed == (0, ())
    window.focus(dock.options.steps)
    window.qtbot.mouseClick(dock.actions.buttons["redo"], Qt.MouseButton.LeftButton)
    window.bench.settle()
    assert window.open_and_committed[0] == 1
    window.press(KEY.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert window.open_and_committed[0] == 0
    window.focus(viewer.layers)
    window.press(KEY.Key_Z, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
    assert window.open_and_committed[0] == 1
    window.focus(dock.actions.buttons["undo"])  # by Tab
    window.press(KEY.Key_Return)
    assert window.open_and_committed == (0, (1,))


def test_a_choice_in_a_list_by_mouse_leaves_the_keyboard_with_the_canvas(window):
    window.bench.viewer.add_image(IMAGE, name="nuclei")
    combo, canvas = window.dock.image_combo, window.bench.viewer.window._qt_viewer.canvas.native
    window.bench.viewer.layers.selection.active = window.bench.editor.layers.points
    window.focus(canvas)
    here, other = combo.currentIndex(), combo.findText("nuclei")
    for row in (other, here):
        window.qtbot.mouseClick(combo, Qt.MouseButton.LeftButton, pos=QPoint(5, 5))
        window.qtbot.waitUntil(combo.view().isVisible)
        combo.hidePopup()
        combo.setCurrentIndex(row)
        combo.activated.emit(row)
    window.press(KEY.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert window.open_and_committed[0] == 0
    window.press(KEY.Key_N)
    assert combo.currentIndex() == here
    assert combo.focusPolicy() == Qt.FocusPolicy.TabFocus
