"""What differs between the versions of napari that are promised, for tests that look past the docks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari.utils._proxies import ReadOnlyWrapper
from napari.utils._test_utils import MouseEvent


@dataclass
class _Event(MouseEvent):
    button: int | None = None  # napari before 0.9 leaves it out


def read_only_mouse_event(**kinds: Any) -> Any:
    """An event of the mouse as napari hands it to a layer's callbacks."""
    return ReadOnlyWrapper(_Event(**kinds), exceptions=("handled",))


def camera_of(viewer: Any) -> Any:
    """The camera of the canvas."""
    return (viewer.scene if hasattr(viewer, "scene") else viewer).camera  # napari before 0.9


def grid_of(viewer: Any) -> Any:
    """The tiles of the canvas."""
    return (viewer.canvas if hasattr(viewer, "canvas") else viewer).grid


def canvas_size(viewer: Any) -> tuple[int, int]:
    """Height and width of the canvas, as the viewer knows them."""
    return tuple(viewer.canvas.size if hasattr(viewer, "canvas") else viewer._canvas_size)
