"""Building blocks of the few-shot dock."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QWidget


def combo(tip: str) -> QComboBox:
    """A list that does not widen the dock."""
    combo = QComboBox()
    combo.setToolTip(tip)
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(8)
    return combo


def button(text: str, tip: str) -> QPushButton:
    """A button that leaves the keyboard with the canvas."""
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setMinimumWidth(60)
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return button


def row_of(*widgets: QWidget) -> QHBoxLayout:
    """Widgets beside each other."""
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget)
    return row


def pixmap(picture: npt.NDArray[np.uint8]) -> QPixmap:
    """A (rows, cols, 3) uint8 picture for Qt."""
    rows, cols, _ = picture.shape
    return QPixmap.fromImage(
        QImage(picture.tobytes(), cols, rows, 3 * cols, QImage.Format.Format_RGB888).copy()
    )
