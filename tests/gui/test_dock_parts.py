"""The dock's building blocks by themselves."""

from __future__ import annotations

import pytest
from qtpy.QtWidgets import QLabel

from napari_iseg.widgets.dock_parts import SmallLabel

LONG = "Click on an object; right-click where the mask is too large. " * 4
WIDTHS = (120, 180, 300, 180)


@pytest.fixture
def label(qtbot) -> SmallLabel:
    made = SmallLabel("one line")
    qtbot.addWidget(made)
    return made


def heights(label: QLabel) -> list[int]:
    return [label.heightForWidth(width) for width in WIDTHS]


def as_qt_says(label: QLabel) -> list[int]:
    return [QLabel.heightForWidth(label, width) for width in WIDTHS]


def test_the_height_follows_text_font_and_style(label):
    short = heights(label)
    label.setText(LONG)
    long = heights(label)
    assert long == as_qt_says(label) != short
    font = label.font()
    font.setPointSizeF(2 * font.pointSizeF())
    label.setFont(font)
    large = heights(label)
    assert large == as_qt_says(label) != long
    label.setStyleSheet("font-size: 7px; padding: 3px;")
    assert heights(label) == as_qt_says(label) != large
    label.setText("<table><tr><td>X</td><td>the other sign</td></tr></table>")
    assert heights(label) == as_qt_says(label)


def test_a_text_is_laid_out_once_for_a_width(label, monkeypatch):
    label.setText(LONG)
    asked = []
    real = QLabel.heightForWidth
    monkeypatch.setattr(
        QLabel, "heightForWidth", lambda self, width: asked.append(width) or real(self, width)
    )
    assert heights(label) == heights(label)
    assert asked == [120, 180, 300]
