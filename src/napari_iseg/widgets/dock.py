"""What both docks are: widgets that let go of the viewer however they are closed."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QWidget


class Dock(QWidget):
    """A widget of a dock; what it holds of the viewer is let go in ``shut_down``."""

    def __init__(self) -> None:
        super().__init__()
        self._docked = False

    def shut_down(self) -> None:
        """Stop everything and disconnect from the viewer; calling it again does nothing."""

    def event(self, event: Any) -> bool:
        """napari closes a dock by taking its widget out of it: that is when we let go of the viewer."""
        if event.type() == QEvent.Type.ParentChange:
            if self._docked and self.parent() is None:
                self.shut_down()
            self._docked = self.parent() is not None
        return bool(super().event(event))

    def closeEvent(self, event: Any) -> None:
        """Let go of the viewer when closed as a window of its own."""
        self.shut_down()
        super().closeEvent(event)
