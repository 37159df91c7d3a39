"""Adding and removing layers without changing what the user has selected."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer


def insert_below(viewer: napari.Viewer, layer: Layer, *uppers: Layer | None) -> None:
    """Add ``layer`` under the first of ``uppers`` that is there, or on top where none is."""
    there = (viewer.layers.index(upper) for upper in uppers if upper is not None and upper in viewer.layers)
    with _same_selection(viewer):
        viewer.layers.insert(next(there, len(viewer.layers)), layer)


def remove(viewer: napari.Viewer, *layers: Layer | None) -> None:
    """Remove those of ``layers`` that are there.

    napari collects garbage once for all of them; half a second for each would hold the window.
    """
    there = [layer for layer in layers if layer is not None and layer in viewer.layers]
    if there:
        with _same_selection(viewer), viewer.layers.batched_update():
            for layer in there:
                viewer.layers.remove(layer)


@contextmanager
def _same_selection(viewer: napari.Viewer) -> Iterator[None]:
    selected = set(viewer.layers.selection)
    yield
    there = selected.intersection(viewer.layers)
    if there and there != set(viewer.layers.selection):
        viewer.layers.selection = there  # the active one follows from it
