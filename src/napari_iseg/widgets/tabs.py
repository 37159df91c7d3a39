"""Docks of ours on one side of the window are tabs: each needs the height for itself."""

from __future__ import annotations

from qtpy.QtWidgets import QDockWidget, QMainWindow

from napari_iseg.widgets.dock import Dock


def share_side(dock: Dock) -> None:
    """Make a dock that was just put into the window a tab, in front, with one of ours that is there already.

    napari stacks docks unless its caller says otherwise, which its menu does not. Docks of napari and of
    other plugins stay where they are, and so does what floats, is hidden or is a tab already.
    """
    own = dock.parent()
    window = own.parent() if isinstance(own, QDockWidget) else None
    if not isinstance(window, QMainWindow) or own.isFloating() or window.tabifiedDockWidgets(own):
        return
    for other in window.findChildren(QDockWidget):
        ours = other is not own and isinstance(other.widget(), Dock)
        shown = not (other.isFloating() or other.isHidden())
        if ours and shown and window.dockWidgetArea(other) == window.dockWidgetArea(own):
            window.tabifyDockWidget(other, own)
            own.show()
            own.raise_()
            return
