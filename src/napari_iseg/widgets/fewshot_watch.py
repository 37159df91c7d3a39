"""Hearing that the labels which are annotated in have changed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer

if TYPE_CHECKING:
    import napari
    from napari.layers import Labels


class LabelsWatch:
    """Tells when a labels layer is painted in, drawn anew with nothing in view moved, or shown again.

    Drawn anew is how other pixels under a layer show, as after a commit of the click dock. napari tells of it
    as it does of another slice or zoom, and those are no news. A hidden layer is not drawn.

    Parameters
    ----------
    changed : called when there may be other labels
    """

    def __init__(self, viewer: napari.Viewer, changed: Callable[[], object]) -> None:
        self._viewer, self._changed = viewer, changed
        self._layer: Labels | None = None
        self._in_view: tuple[Any, ...] = ()

    def follow(self, layer: Labels | None) -> None:
        """Hear of this layer, and no longer of the one before; None: of none."""
        if layer is self._layer:
            return
        if self._layer is not None:
            self._layer.events.paint.disconnect(self._painted)
            self._layer.events.set_data.disconnect(self._drawn)
            self._layer.events.visible.disconnect(self._shown)
        self._layer, self._in_view = layer, self._view_of(layer)
        if layer is not None:
            layer.events.paint.connect(self._painted)
            layer.events.set_data.connect(self._drawn)
            layer.events.visible.connect(self._shown)

    def _painted(self, _event: Any) -> None:
        # napari tells of a polygon, or of the first stroke, before it writes the pixels
        QTimer.singleShot(0, partial(self._written, self._layer))

    def _written(self, layer: Labels) -> None:
        if layer is self._layer:
            self._changed()

    def _shown(self, _event: Any) -> None:
        if self._layer is not None and self._layer.visible:
            self._changed()

    def _drawn(self, _event: Any) -> None:
        before, self._in_view = self._in_view, self._view_of(self._layer)
        if before == self._in_view:
            self._changed()

    def _view_of(self, layer: Labels | None) -> tuple[Any, ...]:
        """What a layer is drawn anew for though its pixels are the same."""
        dims = self._viewer.dims
        zoom: tuple[Any, ...] = ()
        if layer is not None and layer.multiscale:
            zoom = layer.data_level, layer.corner_pixels.tobytes()
        return (*dims.point, *dims.order, dims.ndisplay, *zoom)
