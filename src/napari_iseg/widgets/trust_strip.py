"""A strip with a cell per slice (or tile): how far each answer is to be trusted, at a glance."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QEvent, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QPainter
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

SUPPORT = 2.0  # the value of an annotated cell
REJECTED = -1.0
_SUPPORT_COLOR = QColor("#4a90e2")
_REJECTED_COLOR = QColor("#8b1e1e")
_EMPTY_COLOR = QColor(128, 128, 128, 60)
_STEPS = {
    Qt.Key.Key_Left: (0, -1),
    Qt.Key.Key_Right: (0, 1),
    Qt.Key.Key_Up: (-1, 0),
    Qt.Key.Key_Down: (1, 0),
}


class TrustStrip(QWidget):
    """Cells from red (doubtful) over yellow to green (trusted); blue is annotated, grey not done.

    Signals
    -------
    chosen(int, int)
        Row and column of the cell that was clicked, or come to by an arrow key.
    """

    chosen = Signal(int, int)

    def __init__(self) -> None:
        super().__init__()
        self._values = np.full((1, 1), np.nan)
        self._current = (-1, -1)
        self._at = (0, 0)  # where the keyboard is: in a scene, no tile is the one in view
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # a click leaves the keyboard with the canvas
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(
            "Slices (tiles of a scene) from first to last: blue is annotated, green trusted, red doubtful, "
            "grey not done. Click to go there, or use the arrow keys."
        )

    @property
    def values(self) -> npt.NDArray[np.float64]:
        """(rows, cols): trust from 0 to 1, SUPPORT, REJECTED or NaN."""
        return self._values

    def set_values(self, values: npt.NDArray[np.float64], current: tuple[int, int]) -> None:
        """Show these cells, with a frame around the current one."""
        self._values, self._current = np.atleast_2d(values), current
        self._move_to(*(self._at if min(current) < 0 else current))
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
            if (row, col) == (self._at if self.hasFocus() else self._current):
                painter.setPen(Qt.GlobalColor.white)
                painter.drawRect(cell.adjusted(0, 0, -1, -1))
        painter.end()

    def mousePressEvent(self, event: Any) -> None:
        """Tell which cell was clicked."""
        self._move_to(*self._cell_at(event.position()))
        self.chosen.emit(*self._at)

    def keyPressEvent(self, event: Any) -> None:
        """Arrow keys go from cell to cell."""
        if event.key() not in _STEPS:
            super().keyPressEvent(event)
            return
        down, right = _STEPS[event.key()]
        self._move_to(self._at[0] + down, self._at[1] + right)
        self.chosen.emit(*self._at)

    def event(self, event: Any) -> bool:
        """The tooltip says what the cell under the mouse shows."""
        if event.type() == QEvent.Type.ToolTip:
            cell = self.words(*self._cell_at(event.pos()))
            QToolTip.showText(event.globalPos(), f"{cell}\n{self.toolTip()}", self)
            return True
        return bool(super().event(event))

    def words(self, row: int, col: int) -> str:
        """What a cell shows, for who does not see its colour."""
        where = f"Slice {col}" if self._values.shape[0] == 1 else f"Tile in row {row}, column {col}"
        return f"{where}: {words_of(self._values[row, col])}."

    def _move_to(self, row: int, col: int) -> None:
        """The keyboard is at this cell, or at the nearest that there is."""
        rows, cols = self._values.shape
        self._at = min(max(0, row), rows - 1), min(max(0, col), cols - 1)
        self.setAccessibleDescription(self.words(*self._at))
        self.update()

    def _cell_at(self, place: Any) -> tuple[int, int]:
        """Row and column of the cell at a place in pixels."""
        rows, cols = self._values.shape
        row, col = place.y() / max(1, self.height()) * rows, place.x() / max(1, self.width()) * cols
        return min(rows - 1, max(0, int(row))), min(cols - 1, max(0, int(col)))


def words_of(value: float) -> str:
    """What a value stands for."""
    if np.isnan(value):
        return "not done"
    if value == SUPPORT:
        return "annotated"
    return "rejected" if value == REJECTED else f"trust {value:.2f}"


def color_of(value: float) -> QColor:
    """The colour of a cell."""
    if np.isnan(value):
        return _EMPTY_COLOR
    if value == SUPPORT:
        return _SUPPORT_COLOR
    if value == REJECTED:
        return _REJECTED_COLOR
    return QColor.fromHsvF(float(np.clip(value, 0, 1)) / 3, 0.75, 0.85)
