"""What both docks are: widgets that let go of the viewer however they are closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QWidget

from napari_iseg.widgets.bare import bare_viewer
from napari_iseg.widgets.canvas_context import CanvasContext
from napari_iseg.widgets.keyboard import leave_keys_to_canvas

if TYPE_CHECKING:
    import napari


class Dock(QWidget):
    """A widget of a dock; what it holds of the viewer is let go in ``shut_down``.

    Parameters
    ----------
    napari_viewer : the viewer the dock works in
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = bare_viewer(napari_viewer)
        self._canvas_context = CanvasContext(self._viewer)
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

    def showEvent(self, event: Any) -> None:
        """It is in a window now."""
        self._canvas_context.find(self)
        leave_keys_to_canvas(self)
        super().showEvent(event)

    def closeEvent(self, event: Any) -> None:
        """Let go of the viewer when closed as a window of its own."""
        self.shut_down()
        super().closeEvent(event)
