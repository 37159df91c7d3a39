"""Going through a label store without looking where nothing is."""

from __future__ import annotations

from napari_iseg.labels.regions import TILE
from napari_iseg.labels.store import LabelStore, Plane
from napari_iseg.prompts import Window


def occupied_tiles(labels: LabelStore, side: int = TILE) -> list[tuple[Plane, Window]]:
    """(plane, window) of the tiles of ``side`` pixels that may hold labels, in the order of the array."""
    found: set[tuple[Plane, int, int]] = set()
    for label in labels.labels:
        for trace in labels.traces_of(label):
            area = trace.window
            for row in range(area.top // side, -(-area.bottom // side)):
                found.update(
                    (trace.plane, row, col) for col in range(area.left // side, -(-area.right // side))
                )
    plane_area = Window.of_shape((labels.shape[-2], labels.shape[-1]))
    return [
        (plane, Window(row * side, col * side, (row + 1) * side, (col + 1) * side).intersect(plane_area))
        for plane, row, col in sorted(found)
    ]
