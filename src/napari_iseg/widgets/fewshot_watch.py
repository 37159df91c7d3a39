"""Hearing that the labels which are annotated in have changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import napari
    from napari.layers import Labels


class LabelsWatch:
    """Tells when a labels layer is painted in, or drawn anew with nothing in view moved.

    The latter is how other pixels under a layer show, as after a commit of the click dock. napari tells of it
    as it does of another slice or zoom, and those are no news.

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
        self._layer, self._in_view = layer, self._view_of(layer)
        if layer is not None:
            layer.events.paint.connect(self._painted)
            layer.events.set_data.connect(self._drawn)

    def _painted(self, _event: Any) -> None:
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
