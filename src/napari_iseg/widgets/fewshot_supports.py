"""The list of what was annotated, each with its picture; a way to its slice by mouse and by keyboard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import QListWidget, QListWidgetItem

from napari_iseg.widgets.fewshot_run import THUMBNAIL, SupportRow
from napari_iseg.widgets.fewshot_taken import Place

_KEY = Qt.Key
_ENTER = (_KEY.Key_Return, _KEY.Key_Enter)
_MOVES = (_KEY.Key_Up, _KEY.Key_Down, _KEY.Key_Home, _KEY.Key_End, _KEY.Key_PageUp, _KEY.Key_PageDown)


class SupportList(QListWidget):
    """Annotated slices and tiles.

    Signals
    -------
    chosen(object, object)
        The plane that the user clicked, or came to by a key, and the window of a scene, whose plane is ().
        Tab alone chooses none: it only passes by.
    """

    chosen = Signal(object, object)

    def __init__(self) -> None:
        super().__init__()
        self._places: list[Place] = []  # of the rows
        self.setIconSize(QSize(THUMBNAIL, THUMBNAIL))
        self.setToolTip("What was annotated; click to go there, or use the arrow keys.")
        self.setAccessibleName("Annotated")
        self.setMinimumHeight(140)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # a click leaves the keyboard with the canvas
        self.itemClicked.connect(self._choose)

    def show_rows(self, rows: Sequence[SupportRow]) -> None:
        """List these; who is on a row stays on that of its slice or tile."""
        kept = self._places[self.currentRow()] if self.currentRow() >= 0 else None
        self.clear()
        self._places = [(row.ref.plane, row.ref.window) for row in rows]
        for row in rows:
            self.addItem(QListWidgetItem(QIcon(pixmap(row.picture)), row.words))
        if kept in self._places:
            self.setCurrentRow(self._places.index(kept))

    def keyPressEvent(self, event: Any) -> None:
        """Keys go from row to row, and to its slice."""
        if event.key() not in _ENTER:
            super().keyPressEvent(event)
        if event.key() in _ENTER + _MOVES and self.currentItem() is not None:
            event.accept()  # else napari, too, would do something by it
            self._choose(self.currentItem())

    def _choose(self, item: QListWidgetItem) -> None:
        plane, window = self._places[self.row(item)]
        self.chosen.emit(plane, None if plane else window)


def pixmap(picture: npt.NDArray[np.uint8]) -> QPixmap:
    """A (rows, cols, 3) uint8 picture for Qt."""
    rows, cols, _ = picture.shape
    return QPixmap.fromImage(
        QImage(picture.tobytes(), cols, rows, 3 * cols, QImage.Format.Format_RGB888).copy()
    )
