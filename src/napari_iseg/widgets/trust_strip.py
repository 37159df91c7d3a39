"""A strip with a cell per slice (or tile): how far each answer is to be trusted, at a glance."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QPainter
from qtpy.QtWidgets import QSizePolicy, QWidget

SUPPORT = 2.0  # the value of an annotated cell
REJECTED = -1.0
_SUPPORT_COLOR = QColor("#4a90e2")
_REJECTED_COLOR = QColor("#8b1e1e")
_EMPTY_COLOR = QColor(128, 128, 128, 60)


class TrustStrip(QWidget):
    """Cells from red (doubtful) over yellow to green (trusted); blue is annotated, grey not done.

    Signals
    -------
    chosen(int, int)
        Row and column of the cell that was clicked.
    """

    chosen = Signal(int, int)

    def __init__(self) -> None:
        super().__init__()
        self._values = np.full((1, 1), np.nan)
        self._current = (-1, -1)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(
            "Slices (tiles of a scene) from first to last: blue is annotated, green trusted, red doubtful, "
            "grey not done. Click to go there."
        )

    @property
    def values(self) -> npt.NDArray[np.float64]:
        """(rows, cols): trust from 0 to 1, SUPPORT, REJECTED or NaN."""
        return self._values

    def set_values(self, values: npt.NDArray[np.float64], current: tuple[int, int]) -> None:
        """Show these cells, with a frame around the current one."""
        self._values, self._current = np.atleast_2d(values), current
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        """One line for a stack, a small map for a scene."""
        return QSize(200, 22 if self._values.shape[0] == 1 else 90)

    def paintEvent(self, _event: Any) -> None:
        """Draw the cells."""
        painter = QPainter(self)
        rows, cols = self._values.shape
        width, height = self.width() / cols, self.height() / rows
        for row, col in np.ndindex(rows, cols):
            cell = QRectF(col * width, row * height, max(1.0, width - (width > 4)), max(1.0, height - 1))
            painter.fillRect(cell, color_of(self._values[row, col]))
            if (row, col) == self._current:
                painter.setPen(Qt.GlobalColor.white)
                painter.drawRect(cell.adjusted(0, 0, -1, -1))
        painter.end()

    def mousePressEvent(self, event: Any) -> None:
        """Tell which cell was clicked."""
        rows, cols = self._values.shape
        at = event.position()
        row = min(rows - 1, int(at.y() / max(1, self.height()) * rows))
        col = min(cols - 1, int(at.x() / max(1, self.width()) * cols))
        self.chosen.emit(row, col)


def color_of(value: float) -> QColor:
    """The colour of a cell."""
    if np.isnan(value):
        return _EMPTY_COLOR
    if value == SUPPORT:
        return _SUPPORT_COLOR
    if value == REJECTED:
        return _REJECTED_COLOR
    return QColor.fromHsvF(float(np.clip(value, 0, 1)) / 3, 0.75, 0.85)
