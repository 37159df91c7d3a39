"""Objects out of classes: connected components of a label array of any size, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse
from scipy.sparse.csgraph import connected_components

from napari_iseg.errors import InputError, SaveError
from napari_iseg.fewshot.touching import split_touching
from napari_iseg.files import put_in_place, remove, temporary_beside
from napari_iseg.labels.layout import create, written_boxes
from napari_iseg.labels.store import LabelStore

_BLOCK_VALUES = 4 << 20  # 16 MiB of labels at a time

Block = tuple[slice, ...]
Ids = npt.NDArray[np.int64]


def separate_objects(
    labels: Any,
    out: str | Path,
    *,
    ndim: int = 3,
    min_pixels: int = 1,
    split: float | None = None,
    block_values: int = _BLOCK_VALUES,
    overwrite: bool = False,
) -> int:
    """Give every connected object of every class an id of its own; returns how many there are.

    The array is labelled block by block, and pieces that meet across a border of blocks are joined, so an
    object has one id however many blocks it crosses, and ids are 1, 2, ... in the order of the array,
    whatever the blocks are. Objects of different classes are never joined. Nothing of the data's size is
    held: per object a few numbers, per block its labels.

    Parameters
    ----------
    labels : LabelStore or path
        Classes; 0 is background.
    out
        Path of a new OME-Zarr group of labels, ending in .zarr.
    ndim
        2: objects of a plane (the last two axes); 3: objects go through the third axis from last. Pixels that
        share a side belong together.
    min_pixels
        Smaller objects are dropped.
    split
        Pull touching objects apart where the distance to their border has several maxima, each at least this
        many pixels higher than the pass between them; None: no. An object is split as a whole, so blocks
        leave no trace; the parts but the first get ids after all others.
    block_values
        Pixels looked at at once.
    overwrite
        Replace labels of that name, once the new ones are complete.

    Raises
    ------
    InputError
        For labels that cannot be read, an output that exists, or ``ndim`` that does not fit.
    SaveError
        When the output cannot be written.
    """
    store = labels if isinstance(labels, LabelStore) else LabelStore.open(labels)
    shape, path = store.shape, Path(out)
    if ndim not in (2, 3) or ndim > len(shape):
        raise InputError(f"ndim must be 2 or 3 and at most the {len(shape)} axes of the labels, got {ndim}.")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already; choose another name.")
    if path.exists():
        LabelStore.open(path)  # only labels are replaced
    temporary = temporary_beside(path)
    try:
        array = _empty(store, temporary, path)
        count, blocks = _label(store, array, ndim, min_pixels, block_values)
        if split is not None:
            count = split_touching(array, blocks, count, split, write_levels)
        _finish(temporary, path, count)
    except OSError as error:
        raise SaveError(
            f"{path} could not be written ({error.strerror or error}); free some space."
        ) from error
    finally:
        remove(temporary)  # it has the output's name by now, or there is no output
    return count


def _label(
    classes: LabelStore, ids: list[Any], ndim: int, min_pixels: int, block_values: int
) -> tuple[int, list[Block]]:
    """Label in three passes over the blocks that hold something: pieces, joins, final numbers.

    Returns how many objects there are, and those blocks.
    """
    blocks: list[Block] = []
    sizes: list[Ids] = [np.zeros(1, np.int64)]
    firsts: list[Ids] = [np.zeros(1, np.int64)]
    known = 0
    for block in _blocks(classes.levels[0], ndim, block_values):
        values = classes.block(block)
        if values.any():
            pieces, areas, first = _pieces(values, ndim)
            blocks.append(block)
            pieces[pieces > 0] += known
            ids[0][block] = pieces.astype(np.uint32)
            sizes.append(areas)
            firsts.append(_flat(first, block, classes.shape))
            known += len(areas)
    total, start = np.concatenate(sizes), np.concatenate(firsts)
    joins = [pair for block in blocks for pair in _joins(classes, ids[0], block, ndim)]
    pairs = np.concatenate(joins) if joins else np.zeros((0, 2), np.int64)
    graph = sparse.coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(total),) * 2)
    count, group = connected_components(graph, directed=False)
    area = np.bincount(group, weights=total, minlength=count)
    begin = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(begin, group[1:], start[1:])
    order = np.argsort(begin, kind="stable")
    order = order[(area[order] >= min_pixels) & (order != group[0])]
    kept = np.zeros(count, np.int64)
    kept[order] = np.arange(1, len(order) + 1)
    final = kept[group]
    for block in blocks:
        write_levels(ids, block, final[np.asarray(ids[0][block])].astype(np.uint32))
    return len(order), blocks


def _pieces(values: npt.NDArray[Any], ndim: int) -> tuple[Ids, Ids, Ids]:
    """Components of a block, 1, 2, ...; of each its size and the index of its first pixel in the block."""
    structure = _structure(values.ndim, ndim)
    found = np.zeros(values.shape, np.int64)
    last = 0
    for label in np.unique(values):
        if label:
            part, count = ndimage.label(values == label, structure)
            found[part > 0] = part[part > 0] + last
            last += count
    flat = found.ravel()
    at = np.flatnonzero(flat)
    first = np.zeros(last + 1, np.int64)
    first[flat[at[::-1]]] = at[::-1]  # what is written last, the first pixel, stays
    return found, np.bincount(flat[at], minlength=last + 1)[1:], first[1:]


def _flat(local: Ids, block: Block, shape: tuple[int, ...]) -> Ids:
    """Indices within a block as indices of the whole array, both in the order of the array."""
    sides = tuple(part.stop - part.start for part in block)
    at = np.unravel_index(local, sides)
    moved = tuple(index + part.start for index, part in zip(at, block, strict=True))
    flat: Ids = np.ravel_multi_index(moved, shape).astype(np.int64)
    return flat


def _joins(classes: LabelStore, ids: Any, block: Block, ndim: int) -> Iterator[Ids]:
    """Pairs of ids that touch across the upper borders of a block and are of one class."""
    for axis in range(len(block) - ndim, len(block)):
        at = block[axis].start
        if at == 0:
            continue
        border = (*block[:axis], slice(at - 1, at + 1), *block[axis + 1 :])
        below, above = (np.take(np.asarray(ids[border]), side, axis).ravel() for side in (0, 1))
        low, high = (np.take(classes.block(border), side, axis).ravel() for side in (0, 1))
        same = (low == high) & (below > 0) & (above > 0)
        if same.any():
            yield np.unique(np.stack([below[same], above[same]], 1).astype(np.int64), axis=0)


def _structure(axes: int, ndim: int) -> npt.NDArray[np.bool_]:
    """Neighbours that share a side along the last ``ndim`` axes."""
    full: npt.NDArray[np.bool_] = ndimage.generate_binary_structure(axes, 1)
    for axis in range(axes - ndim):
        for side in (0, 2):
            full[(slice(None),) * axis + (side,)] = False
    return full


def _blocks(array: Any, ndim: int, values: int) -> Iterator[Block]:
    """Pieces of an array made of whole chunks, of about ``values`` pixels, in the order of the array.

    Those without a chunk on disk, which hold nothing, are left out.
    """
    shape = tuple(int(size) for size in array.shape)
    sides = [min(c, n) for c, n in zip(array.chunks, shape, strict=True)]
    for axis in reversed(range(len(shape) - ndim, len(shape))):
        while sides[axis] < shape[axis] and 2 * int(np.prod(sides)) <= values:
            sides[axis] = min(shape[axis], 2 * sides[axis])
    boxes = written_boxes(array)
    corners: set[tuple[int, ...]] = set()
    for box in boxes if boxes is not None else [tuple(slice(0, size) for size in shape)]:
        spans = zip(box, sides, strict=True)
        corners.update(product(*(range(s.start - s.start % side, s.stop, side) for s, side in spans)))
    for corner in sorted(corners):
        yield tuple(slice(s, min(s + side, n)) for s, side, n in zip(corner, sides, shape, strict=True))


def _empty(store: LabelStore, temporary: Path, path: Path) -> list[Any]:
    chunks = store.levels[0].chunks
    _, levels = create(temporary, store.shape, chunks, store.space, path.name.split(".")[0])
    return levels


def _finish(temporary: Path, path: Path, count: int) -> None:
    made = LabelStore.open(temporary)
    made.reserve(count + 1)
    made.trust_traces()
    made.flush()
    put_in_place(temporary, path)


def write_levels(levels: list[Any], block: Block, values: npt.NDArray[np.uint32]) -> None:
    """Write final ids in all levels: every 2^k-th pixel of the last two axes."""
    for level, array in enumerate(levels):
        step = 2**level
        place, index = list(block), [slice(None)] * len(block)
        for axis in (len(block) - 2, len(block) - 1):
            low = -(-block[axis].start // step)
            high = -(-block[axis].stop // step)
            place[axis] = slice(low, high)
            index[axis] = slice(low * step - block[axis].start, None, step)
        part = values[tuple(index)]
        if part.size:
            array[tuple(place)] = part
