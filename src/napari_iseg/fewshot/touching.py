"""Pulling touching objects apart: watershed on the distance to the border, object by object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_iseg.errors import InputError

Block = tuple[slice, ...]
_MOST_PIXELS = 32 << 20  # of an object's box: a larger one is left whole


def split_touching(
    levels: list[Any],
    blocks: Sequence[Block],
    count: int,
    depth: float,
    write: Callable[[list[Any], Block, npt.NDArray[np.uint32]], None],
) -> int:
    """Split objects in place; returns the new number of objects.

    Parameters
    ----------
    levels : the pyramid; level 0 holds ids 1 to ``count``
    blocks : pieces of level 0 that may be read at once
    depth : pixels by which a maximum of the distance must rise above the pass to a higher one
    write : writes a block in all levels

    Raises
    ------
    InputError
        For a ``depth`` that is not above 0.
    """
    if not depth > 0:
        raise InputError(f"Objects are split by a depth above 0 pixels, got {depth:g}; give 1 or 2.")
    boxes = object_boxes(levels[0], blocks, count)
    for number in range(1, count + 1):
        box = boxes[number]
        if box is None or np.prod([part.stop - part.start for part in box]) > _MOST_PIXELS:
            continue
        ids = np.asarray(levels[0][box])
        parts = parts_of(ids == number, depth)
        if parts.max() < 2:
            continue
        ids[parts > 1] = count + parts[parts > 1] - 1
        count += int(parts.max()) - 1
        write(levels, box, ids)
    return count


def parts_of(mask: npt.NDArray[np.bool_], depth: float) -> npt.NDArray[np.int64]:
    """Parts 1, 2, ... of one object; 0 outside."""
    from skimage.morphology import h_maxima
    from skimage.segmentation import watershed

    if mask.size == 1:
        return mask.astype(np.int64)
    # The border of the box is no border of the object, but the border of its pixels is.
    flat = np.pad(mask.squeeze(), 1)
    distance = ndimage.distance_transform_edt(flat)
    peaks, found = ndimage.label(h_maxima(distance, depth), np.ones((3,) * flat.ndim))
    parts = watershed(-distance, peaks, mask=flat) if found > 1 else flat.astype(np.int64)
    whole: npt.NDArray[np.int64] = parts[(slice(1, -1),) * flat.ndim].reshape(mask.shape)
    return whole


def object_boxes(ids: Any, blocks: Sequence[Block], count: int) -> list[Block | None]:
    """The box of every object, found block by block; index 0 is unused."""
    ndim = len(ids.shape)
    low = np.full((count + 1, ndim), np.iinfo(np.int64).max)
    high = np.zeros((count + 1, ndim), np.int64)
    for block in blocks:
        values = np.asarray(ids[block])
        starts = np.array([part.start for part in block])
        for number, found in enumerate(ndimage.find_objects(values.astype(np.int64)), start=1):
            if found is not None:
                low[number] = np.minimum(low[number], starts + [part.start for part in found])
                high[number] = np.maximum(high[number], starts + [part.stop for part in found])
    return [
        tuple(slice(int(a), int(b)) for a, b in zip(low[n], high[n], strict=True)) if high[n].any() else None
        for n in range(count + 1)
    ]
