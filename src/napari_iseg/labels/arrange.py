"""Labels in another order of axes, or with axes that run the other way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_iseg.labels.layout import CHUNK
from napari_iseg.labels.metadata import Space
from napari_iseg.labels.reading import occupied_tiles
from napari_iseg.labels.store import Labels, LabelStore, Trace
from napari_iseg.prompts import Window

_PLANES = 64  # of a block, which is then 64 MiB; every chunk is read once, and written a few times


def in_image_order(labels: LabelStore) -> LabelStore:
    """The labels with their axes in the order of the image they were made on; themselves where they are."""
    order = image_order(labels)
    return labels if order == sorted(order) else arranged(labels, order)


def image_order(labels: LabelStore) -> list[int]:
    """Which axis of the labels is the image's first, second, ..."""
    return [int(axis) for axis in np.argsort(labels.image_axes)]


def arranged(
    labels: LabelStore,
    order: Sequence[int],
    backwards: Sequence[bool] = (),
    *,
    path: Path | None = None,
    name: str = "labels",
) -> LabelStore:
    """A copy of labels, block by block; in memory without a path.

    Parameters
    ----------
    labels : LabelStore
    order : which axis of ``labels`` is the copy's first, second, ...
    backwards : for each axis of the copy, whether its last pixel becomes the first; none without it

    Raises
    ------
    InputError, SaveError
        See ``LabelStore``.
    """
    sizes = [labels.shape[axis] for axis in order]
    turned = tuple(backwards) or (False,) * len(sizes)
    copy = LabelStore(sizes, path=path, name=name, **_space(labels, order, turned).to_record())
    found: dict[int, list[Trace]] = {}
    for box in _blocks(labels):
        block = np.asarray(labels.levels[0][tuple(slice(*span) for span in box)]).transpose(order)
        starts = [
            size - box[axis][1] if turn else box[axis][0]
            for axis, size, turn in zip(order, sizes, turned, strict=True)
        ]
        block = np.flip(block, tuple(axis for axis, turn in enumerate(turned) if turn))
        for plane, window, values in _planes(block, starts):
            copy.put(plane, window, values)
            for label in np.unique(values[values > 0]):
                found.setdefault(int(label), []).append(Trace(plane, window))
    for label, traces in found.items():
        copy.remember(label, traces)
    copy.reserve(labels.next_label())
    return copy


def _space(labels: LabelStore, order: Sequence[int], backwards: Sequence[bool]) -> Space:
    """Where the copy lies: an axis that is turned round begins where it ended."""
    space = labels.space
    ends = [
        start + step * (size - 1)
        for start, step, size in zip(space.translate, space.scale, labels.shape, strict=True)
    ]
    turns = list(zip(order, backwards, strict=True))
    return replace(
        space,
        axes=tuple(space.axes[axis] for axis in order),
        scale=tuple(-space.scale[axis] if turn else space.scale[axis] for axis, turn in turns),
        translate=tuple(ends[axis] if turn else space.translate[axis] for axis, turn in turns),
        units=tuple(space.units[axis] for axis in order),
    )


def _blocks(labels: LabelStore) -> list[tuple[tuple[int, int], ...]]:
    """(start, end) per axis of blocks of some planes that may hold labels; they do not overlap."""
    found = set()
    for plane, tile in occupied_tiles(labels, CHUNK):
        lead = [(index, index + 1) for index in plane]
        if lead:
            first = plane[-1] - plane[-1] % _PLANES
            lead[-1] = (first, min(first + _PLANES, labels.shape[-3]))
        found.add((*lead, (tile.top, tile.bottom), (tile.left, tile.right)))
    return sorted(found)


def _planes(block: Labels, starts: Sequence[int]) -> Iterator[tuple[tuple[int, ...], Window, Labels]]:
    """Plane, window and values of every plane of a block that holds labels; ``starts``: its first pixel."""
    top, left = starts[-2:]
    window = Window(top, left, top + block.shape[-2], left + block.shape[-1])
    for index in np.ndindex(block.shape[:-2]):
        values = block[index]
        if values.any():
            yield tuple(i + start for i, start in zip(index, starts[:-2], strict=True)), window, values
