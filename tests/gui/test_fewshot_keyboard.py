"""The few-shot dock by keyboard and by ear."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QCheckBox, QLabel, QPushButton

from .conftest import NO_WINDOW
from .fewshot_bench import TRUTH, sparse

if NO_WINDOW is None:
    from napari_iseg.widgets.trust_strip import REJECTED, SUPPORT, TrustStrip

KEY = Qt.Key


def test_whatever_tab_comes_to_has_a_name(fewshot):
    dock = fewshot.open()
    buddies = [label.buddy() for label in dock.findChildren(QLabel)]
    own = [value for value in vars(dock).values() if hasattr(value, "accessibleName")]
    for widget in own:
        if widget.focusPolicy() & Qt.FocusPolicy.TabFocus and not isinstance(widget, QPushButton | QCheckBox):
            assert widget.accessibleName() or widget in buddies, widget
    assert dock.progress.accessibleName()
    assert dock.strip.focusPolicy() & Qt.FocusPolicy.TabFocus


def test_keys_go_from_annotated_slice_to_slice_and_tab_passes_by(fewshot):
    dock = fewshot.open(labels=sparse(TRUTH, 1, 3).astype(np.uint8))
    fewshot.run()
    fewshot.show(0)
    shown = lambda: fewshot.viewer.dims.current_step[0]  # noqa: E731
    dock.supports.setFocus(Qt.FocusReason.TabFocusReason)
    assert shown() == 0
    dock.supports.setCurrentRow(0)
    assert shown() == 0
    for key, plane in ((KEY.Key_Return, 1), (KEY.Key_Down, 3), (KEY.Key_Down, 3), (KEY.Key_Up, 1)):
        QTest.keyClick(dock.supports, key)
        assert shown() == plane
    fewshot.viewer.layers["some"].data[0, 6, 6] = 1
    fewshot.viewer.layers["some"].refresh()
    fewshot.settle()
    assert dock.supports.currentRow() == 1, "the list is another, the row is that of slice 1 still"
    dock.supports.itemClicked.emit(dock.supports.item(2))
    assert shown() == 3


def test_arrow_keys_go_along_the_strip_which_says_what_it_shows(fewshot):
    dock = fewshot.open(labels=sparse(TRUTH, 2).astype(np.uint8))
    fewshot.run()
    fewshot.show(1)
    assert dock.strip.accessibleDescription().startswith("Slice 1: trust 0.")
    QTest.keyClick(dock.strip, KEY.Key_Right)
    assert fewshot.viewer.dims.current_step[0] == 2
    assert dock.strip.accessibleDescription() == "Slice 2: annotated."


@pytest.mark.parametrize(
    ("key", "cell", "words"),
    [
        (KEY.Key_Down, (1, 0), "Tile in row 1, column 0: rejected."),
        (KEY.Key_Right, (0, 1), "Tile in row 0, column 1: not done."),
        (KEY.Key_Up, (0, 0), "Tile in row 0, column 0: annotated."),
    ],
)
def test_arrow_keys_go_over_the_map_of_a_scene(qtbot, key, cell, words):
    strip, chosen = TrustStrip(), []
    qtbot.addWidget(strip)
    strip.set_values(np.array([[SUPPORT, np.nan], [REJECTED, 0.5]]), (-1, -1))
    strip.chosen.connect(lambda *place: chosen.append(place))
    QTest.keyClick(strip, key)
    assert (chosen, strip.accessibleDescription()) == ([cell], words)
    assert strip.words(1, 1).endswith("trust 0.50.")
