"""A second click that comes fast is no wish to zoom: what napari does at a double click, held back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

_ZOOM = "double_click_to_zoom"  # napari's function, in the viewer's list of callbacks


class _Unless:
    """napari's zoom, unless one of ``layers`` takes the clicks."""

    def __init__(self, zoom: Callable[[Any, Any], None]) -> None:
        self.zoom = zoom
        self.layers: list[Layer] = []  # of all docks in this viewer

    def __call__(self, viewer: Any, event: Any) -> None:
        """As napari calls it; with Alt, a click is none of ours."""
        if viewer.layers.selection.active not in self.layers or "Alt" in event.modifiers:
            self.zoom(viewer, event)


def hold_zoom(viewer: napari.Viewer, layer: Layer) -> None:
    """While ``layer`` is the active one, have a double click not zoom."""
    callbacks = viewer.mouse_double_click_callbacks
    for index, callback in enumerate(callbacks):
        if getattr(callback, "__name__", "") == _ZOOM:
            callback = callbacks[index] = _Unless(callback)
        if isinstance(callback, _Unless):
            callback.layers.append(layer)


def let_zoom(viewer: napari.Viewer, layer: Layer) -> None:
    """Take back what `hold_zoom` did for ``layer``."""
    callbacks = viewer.mouse_double_click_callbacks
    for index, callback in enumerate(callbacks):
        if isinstance(callback, _Unless) and layer in callback.layers:
            callback.layers.remove(layer)
            if not callback.layers:
                callbacks[index] = callback.zoom
