"""Labels in another order of axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from napari_iseg.labels.layout import CHUNK, clear_away
from napari_iseg.labels.metadata import Space
from napari_iseg.labels.reading import occupied_tiles
from napari_iseg.labels.store import Labels, LabelStore, Plane, Trace
from napari_iseg.prompts import Window

_PLANES = 64  # of a block, which is then 64 MiB; every chunk is read a few times, and written once
_IN_MEMORY = 2**26  # pixels of a copy that no folder is made for
_Part = tuple[Plane, Window, Labels]


def image_order(labels: LabelStore) -> list[int]:
    """Which axis of the labels is the image's first, second, ..."""
    return [int(axis) for axis in np.argsort(labels.image_axes)]


@contextmanager
def in_order(labels: LabelStore, order: Sequence[int], beside: Path) -> Iterator[LabelStore]:
    """The labels with their axes in another order, to be read; themselves where it is theirs.

    A large copy lives in a folder beside the file that is made of it, for as long as the ``with`` lasts.
    """
    if list(order) == sorted(order):
        yield labels
        return
    large = np.prod(labels.shape, dtype=np.int64) > _IN_MEMORY and len(labels.shape) <= 5
    folder = beside.with_name(f"{beside.name}.axes") if large else None
    if folder is not None:
        clear_away(folder)
    try:
        yield arranged(labels, order, path=folder)
    finally:
        if folder is not None:
            clear_away(folder)


def arranged(
    labels: LabelStore,
    order: Sequence[int],
    *,
    path: Path | None = None,
    name: str = "labels",
    traced: bool = True,
) -> LabelStore:
    """A copy of labels, block by block; in memory without a path.

    Parameters
    ----------
    labels : LabelStore
    order : which axis of ``labels`` is the copy's first, second, ...
    traced : whether the copy is to be read: it then knows its labels, and where any are, but not every place
        of each, which would be as many traces as there are planes times labels

    Raises
    ------
    InputError, SaveError
        See ``LabelStore``.
    """
    sizes = [labels.shape[axis] for axis in order]
    copy = LabelStore(sizes, path=path, name=name, **_space(labels, order).to_record())
    found: dict[int, list[Trace]] = {}
    for plane, window, values in _parts(labels, order):
        copy.put(plane, window, values)
        if traced:
            here = np.unique(values[values > 0]).tolist()
            for label in [each for each in here if each not in found] or here[:1]:
                found.setdefault(label, []).append(Trace(plane, window))
    for label, traces in found.items():
        copy.remember(label, traces)
    copy.reserve(labels.next_label())
    return copy


def _space(labels: LabelStore, order: Sequence[int]) -> Space:
    """Where the copy lies."""
    space = labels.space
    return replace(
        space,
        axes=tuple(space.axes[axis] for axis in order),
        scale=tuple(space.scale[axis] for axis in order),
        translate=tuple(space.translate[axis] for axis in order),
        units=tuple(space.units[axis] for axis in order),
    )


def _parts(labels: LabelStore, order: Sequence[int]) -> Iterator[_Part]:
    """Plane, window and values of all that the copy holds; whole tiles where the planes stay as they are."""
    if list(order) == sorted(order):
        for plane, tile in occupied_tiles(labels):
            yield plane, tile, labels.read(plane, tile)
        return
    for box in _blocks(labels, order):
        block = labels.block(tuple(slice(*span) for span in box))
        yield from _planes(block.transpose(order), [box[axis][0] for axis in order])


def _blocks(labels: LabelStore, order: Sequence[int]) -> Iterator[tuple[tuple[int, int], ...]]:
    """(start, end) per axis of blocks that may hold labels: whole chunks of some planes of the copy."""
    deep = max((axis for axis in range(len(order)) if axis not in order[-2:]), default=None)
    sides = [CHUNK if axis in order[-2:] else _PLANES if axis == deep else 1 for axis in range(len(order))]
    found: set[tuple[int, ...]] = set()
    for plane, tile in occupied_tiles(labels, CHUNK):
        spans = [*((index, index + 1) for index in plane), (tile.top, tile.bottom), (tile.left, tile.right)]
        found.update(
            product(
                *(
                    range(first - first % side, end, side)
                    for (first, end), side in zip(spans, sides, strict=True)
                )
            )
        )
    for starts in sorted(found):
        yield tuple(
            (start, min(start + side, size))
            for start, side, size in zip(starts, sides, labels.shape, strict=True)
        )


def _planes(block: Labels, starts: Sequence[int]) -> Iterator[_Part]:
    """Plane, window and values of every plane of a block that holds labels; ``starts``: its first pixel."""
    top, left = starts[-2:]
    window = Window(top, left, top + block.shape[-2], left + block.shape[-1])
    for index in np.ndindex(block.shape[:-2]):
        values = block[index]
        if values.any():
            yield tuple(i + start for i, start in zip(index, starts[:-2], strict=True)), window, values
