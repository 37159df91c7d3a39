"""Stacks to carry annotation through: slices of a volume, tiles of a scene (an image, or a set of them)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError
from napari_iseg.evaluation.datasets import Dataset, Item
from napari_iseg.evaluation.methods import as_source
from napari_iseg.fewshot.base import UNKNOWN, Position
from napari_iseg.images import PlaneSource
from napari_iseg.prompts import Window

_ELSEWHERE = 1e6  # pixels between the images of a scene: another image is farther than any tile of this one
_MIN_TILES, _MIN_SIDE = 20, 64
_PLACES = (0.5, 0.25, 0.75, 0.125, 0.625, 0.375, 0.875)  # of an annotated slice in its stretch, by draw


@dataclass(frozen=True, eq=False)
class Stack:
    """Planes of one size and what is asked for in them.

    Parameters
    ----------
    images : (N, H, W, 3) float32 in [0, 1]
    labels : (N, H, W) int32: ``wanted`` ids, 0 beside them, -1 where nothing is counted
    positions : (z,) of a slice; (image, row, col) in pixels of a tile
    scene : tiles, between which distance means nothing to a model; only methods that copy masks are told it
    """

    name: str
    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]
    wanted: tuple[int, ...]
    positions: tuple[Position, ...]
    scene: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def annotated(self, share: float, draw: int = 0) -> list[int]:
        """Indices of the planes that somebody annotates: ``share`` of all, at least one, evenly spread.

        Where none of a volume's holds a label the fullest slice replaces one. In a scene it is, of every even
        stretch, the tile that shows object and background most equally, as a person would choose it.

        ``draw`` : another choice: slices elsewhere in their stretches, the next best tiles
        """
        depth = len(self)
        count = max(1, round(share * depth))
        inside = (self.labels > 0).mean((1, 2))
        if self.scene:
            ends = np.linspace(0, depth, count + 1).round().astype(int)
            pairs = pairwise(ends.tolist())
            ranked = [low + np.abs(inside[low:high] - 0.5).argsort(kind="stable") for low, high in pairs]
            return [int(tiles[min(draw, len(tiles) - 1)]) for tiles in ranked]
        chosen = [int((i + _PLACES[draw % len(_PLACES)]) * depth / count) for i in range(count)]
        if not inside[chosen].any():
            fullest = int(inside.argsort(kind="stable")[::-1][min(draw, depth - 1)])
            chosen[int(np.argmin([abs(z - fullest) for z in chosen]))] = fullest
        return sorted(set(chosen))


def volumes_of(dataset: Dataset, *, objects: int = 4, least: float = 0.3) -> list[Stack]:
    """The volumes of a data set (opened with ``components=False`` where bodies keep their ids).

    Parameters
    ----------
    objects : at most so many of the largest bodies; of a semantic volume its classes
    least : a body must be in at least this share of the slices

    Raises
    ------
    InputError
        When no volume has such a body in two slices or more.
    """
    groups: dict[str, list[Item]] = {}
    for item in dataset:
        if item.position is not None:
            groups.setdefault(item.group, []).append(item)
    made = []
    for name, items in groups.items():
        labels = np.stack([_counted(item) for item in items])
        order = _by_size(labels)
        if dataset.kind == "instances":
            order = [v for v in order if (labels == v).any((1, 2)).mean() >= least]
        wanted = tuple(sorted(order[:objects]))
        if wanted and len(items) > 1:
            positions = tuple((float(item.position or 0),) for item in items)
            kept = _only(labels, wanted)
            made.append(Stack(name, _pictures([i.image() for i in items]), kept, wanted, positions))
    if not made:
        raise InputError(f"The data set {dataset.name} has no volume with a body in enough slices.")
    return made


def scene_of(dataset: Dataset, *, side: int = 256, most: int = 64, classes: int = 4) -> Stack:
    """A data set of images as one scene in tiles.

    Parameters
    ----------
    side : see `tiles_of`; of more than ``most`` tiles evenly spread ones are taken
    classes : so many of a semantic set's largest; of instances it is "every object", label 1

    Raises
    ------
    InputError
        When there are no two tiles, or nothing is labelled.
    """
    tiles = tiles_of(dataset, side)
    if len(tiles) > most:
        tiles = tiles.subset([int(i) for i in np.linspace(0, len(tiles) - 1, most).round()])
    labels = np.stack([_counted(tile) for tile in tiles])
    if dataset.kind == "instances":
        labels = np.where(labels > 0, 1, labels).astype(np.int32)
    wanted = tuple(sorted(_by_size(labels)[:classes]))
    if len(tiles) < 2 or not wanted:
        raise InputError(f"The data set {dataset.name} has no two tiles with labels to carry them over.")
    groups = {name: i for i, name in enumerate(dict.fromkeys(tile.group for tile in tiles))}
    places = [tile.name.rsplit("_", 2) for tile in tiles]
    positions = tuple(
        (_ELSEWHERE * groups[tile.group], float(row), float(col))
        for tile, (_, row, col) in zip(tiles, places, strict=True)
    )
    images = _pictures([tile.image() for tile in tiles])
    return Stack(dataset.name, images, _only(labels, wanted), wanted, positions, True)


def tiles_of(dataset: Dataset, side: int = 256) -> Dataset:
    """Images cut to square tiles of one size, ``NAME_ROW_COL``, as 8-bit pictures of the whole image's range.

    The side is halved while there are fewer than 20 tiles, down to 64 pixels, and is at most that of the
    smallest image; what does not fill a tile is left between them.
    """
    shapes = [item.labels().shape for item in dataset]
    side = min(side, *(n for shape in shapes for n in shape))
    while sum((h // side) * (w // side) for h, w in shapes) < _MIN_TILES and side // 2 >= _MIN_SIDE:
        side //= 2
    return replace(dataset, items=tuple(tile for item in dataset for tile in _cut(item, side)))


def _cut(item: Item, side: int) -> list[Item]:
    source, labels = as_source(item.image()), item.labels()
    pixels = np.round(source.read(Window.of_shape(source.shape)) * 255).astype(np.uint8)
    tops, lefts = (np.linspace(0, n - side, n // side).round().astype(int) for n in labels.shape)
    return [
        replace(
            item,
            name=f"{item.name}_{top}_{left}",
            group=item.name,
            read_image=_window(pixels, top, left, side),
            read_labels=_window(labels, top, left, side),
        )
        for top in tops
        for left in lefts
    ]


def _window(array: npt.NDArray[Any], top: int, left: int, side: int) -> Any:
    return lambda: array[top : top + side, left : left + side]


def _pictures(images: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
    """(N, H, W, 3) float32 in [0, 1]; one range of grey values for all of them."""
    whole = np.stack(images)
    if whole.ndim == 4:
        sources = [as_source(image) for image in images]
        return np.stack([s.read(Window.of_shape(s.shape)) for s in sources])
    source = PlaneSource.wrap(whole, rgb=False)
    return np.stack([source.read(Window.of_shape(source.shape), (z,)) for z in range(len(whole))])


def _counted(item: Item) -> npt.NDArray[np.int32]:
    labels = item.labels()
    return labels if item.ignore is None else np.where(labels == item.ignore, UNKNOWN, labels)


def _by_size(labels: npt.NDArray[np.int32]) -> list[int]:
    values, counts = np.unique(labels, return_counts=True)
    return [int(v) for v in values[np.argsort(-counts, kind="stable")] if v > 0]


def _only(labels: npt.NDArray[np.int32], wanted: Sequence[int]) -> npt.NDArray[np.int32]:
    """Other labels are background; what is not counted stays so."""
    kept: npt.NDArray[np.int32] = np.where(np.isin(labels, wanted) | (labels == UNKNOWN), labels, 0).astype(
        np.int32
    )
    return kept
