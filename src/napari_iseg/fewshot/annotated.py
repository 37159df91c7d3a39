"""Finding the annotated planes and tiles of a label array, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product, takewhile
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_iseg.fewshot.arguments import as_labels
from napari_iseg.fewshot.frame import Frame, Grid, Plane
from napari_iseg.images.damage import reading
from napari_iseg.labels.layout import written_boxes
from napari_iseg.labels.regions import tiles_of
from napari_iseg.prompts import Window

_THICK = 64  # planes looked at in one piece, at most
_SIDE = 1024

Array = npt.NDArray[Any]


def read_plane(labels: Any, frame: Frame, plane: Plane, window: Window) -> npt.NDArray[np.int32]:
    """Label ids of a window of a plane, (rows, cols) int32; negative values (unknown) become -1.

    Raises
    ------
    InputError
        For an id that int32 cannot hold.
    DamageError
        For a file that cannot be read.
    """
    return as_labels(_block(labels, frame.index(plane, window)), f"The labels ({frame.name(plane)}) hold")


def _block(labels: Any, box: tuple[int | slice, ...]) -> Array:
    """The values of a box of a label array, whose files may be damaged."""
    with reading(getattr(getattr(labels, "store", None), "root", "The label array"), "labels"):
        return np.asarray(labels[box])


def occupied(
    labels: Any,
    frame: Frame,
    planes: Sequence[Plane] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[Plane, Window]]:
    """Windows of planes that hold a label, without ever reading more than 64 planes of 1024 x 1024.

    Parameters
    ----------
    labels : array of ``frame.shape``
    planes : only these; None: all. Of a zarr array on disk only the chunks that have a file are looked at, of
        anything else everything, slab by slab along the slicing axis.
    cancelled : asked before every read; once it is true no more windows come

    Raises
    ------
    DamageError
        For a file that cannot be read.
    """
    windows = list(tiles_of(Window.of_shape(frame.plane_shape), _SIDE))
    if planes is not None or frame.slicing is None:
        for plane, window in product(planes if planes is not None else [()], windows):
            if cancelled():
                return
            if (read_plane(labels, frame, plane, window) > 0).any():
                yield plane, window
        return
    boxes = written_boxes(labels)
    if boxes is not None:
        wanted = takewhile(lambda _box: not cancelled(), boxes)
        yield from sorted(_in_boxes(labels, frame, wanted), key=lambda found: (found[0], found[1].top))
        return
    thick = min(_chunk(labels, frame.slicing), _THICK)
    size = frame.shape[frame.slicing]
    others = [plane for plane in frame.planes() if plane[frame.place] == 0]
    for other, start, window in product(others, range(0, size, thick), windows):
        if cancelled():
            return
        for offset in _filled(labels, frame, other, slice(start, min(size, start + thick)), window):
            yield _replaced(other, frame.place, start + int(offset)), window


def _in_boxes(labels: Any, frame: Frame, boxes: Iterable[tuple[slice, ...]]) -> set[tuple[Plane, Window]]:
    """(plane, window) of the labels in some boxes; windows are those of the fixed grid of 1024 pixels."""
    found: set[tuple[Plane, Window]] = set()
    whole = Window.of_shape(frame.plane_shape)
    for box in boxes:
        values = _block(labels, box) > 0
        rows, cols = box[frame.rows], box[frame.cols]
        hit = np.argwhere(values.any(axis=(frame.rows, frame.cols)))
        area = Window(rows.start, cols.start, rows.stop, cols.stop)
        for place in hit:
            plane = tuple(box[axis].start + int(i) for axis, i in zip(frame.leading, place, strict=True))
            for tile in tiles_of(area, _SIDE):
                top, left = tile.top - tile.top % _SIDE, tile.left - tile.left % _SIDE
                found.add((plane, Window(top, left, top + _SIDE, left + _SIDE).intersect(whole)))
    return found


def _filled(labels: Any, frame: Frame, plane: Plane, span: slice, window: Window) -> Array:
    """Which planes of a slab hold a label in the window, counted from its start."""
    at = list(frame.index(plane, window))
    assert frame.slicing is not None
    at[frame.slicing] = span
    slab = _block(labels, tuple(at))
    axes = [axis for axis in range(len(frame.shape)) if not isinstance(at[axis], int)]
    across = tuple(index for index, axis in enumerate(axes) if axis != frame.slicing)
    return np.flatnonzero((slab > 0).any(axis=across))


def _replaced(plane: Plane, place: int, value: int) -> Plane:
    return (*plane[:place], value, *plane[place + 1 :])


def _chunk(labels: Any, axis: int) -> int:
    chunks = getattr(labels, "chunks", None)
    if chunks is None:
        return _THICK
    size = chunks[axis]
    return max(1, int(size[0] if isinstance(size, tuple) else size))


def support_windows(labels: Any, frame: Frame, grid: Grid, plane: Plane, found: Window) -> list[Window]:
    """Tiles around what is annotated in a window of a plane: the whole plane where it fits into one tile.

    A tile is centred on the labels of a cell rather than on a fixed grid, since a label at the border of a
    tile would lose half of its surroundings.
    """
    if grid.count == (1, 1):
        return [Window.of_shape(grid.shape)]
    windows: list[Window] = []
    rows, cols = grid.chunk
    for tile in tiles_of(found, max(rows, cols)):
        at = np.argwhere(read_plane(labels, frame, plane, tile) > 0)
        if not len(at):
            continue
        middle = (at.min(0) + at.max(0)) // 2
        wanted = _around(grid, tile.top + int(middle[0]), tile.left + int(middle[1]))
        if wanted not in windows:
            windows.append(wanted)
    return windows


def _around(grid: Grid, row: int, col: int) -> Window:
    """The window of a tile's size around a pixel, moved into the plane."""
    sides = [min(grid.tile, size) for size in grid.shape]
    starts = [
        min(max(0, at - side // 2), size - side)
        for at, side, size in zip((row, col), sides, grid.shape, strict=True)
    ]
    return Window(starts[0], starts[1], starts[0] + sides[0], starts[1] + sides[1])
