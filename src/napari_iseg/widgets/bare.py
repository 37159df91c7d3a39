"""The viewer behind the proxy that napari hands to docks of its menu."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import napari


def bare_viewer(viewer: napari.Viewer) -> napari.Viewer:
    """The viewer itself.

    A proxy wraps whatever it is asked for anew, so that one layer is another object each time: ``is`` would
    never hold between two of them, nor between one and the layer that an event tells of.
    """
    return cast("napari.Viewer", getattr(viewer, "__wrapped__", viewer))
