"""Regions: the pixels of an object in one plane, packed to bits tile by tile so that size costs little."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_iseg.prompts import Window

TILE = 1024  # pixels per side: one tile of labels is 4 MiB, whatever the size of the object
Mask = NDArray[np.bool_]


def tiles_of(window: Window, side: int = TILE) -> Iterator[Window]:
    """Cut a window into tiles of at most ``side`` pixels, aligned to multiples of ``side`` in the plane."""
    for top in range(window.top - window.top % side, window.bottom, side):
        for left in range(window.left - window.left % side, window.right, side):
            tile = Window(top, left, top + side, left + side).intersect(window)
            if tile.height and tile.width:
                yield tile


def tight(window: Window, mask: Mask) -> Window | None:
    """The smallest window around the true pixels of ``mask``, which covers ``window``; None if none."""
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return None
    return Window(
        window.top + int(rows[0]),
        window.left + int(cols[0]),
        window.top + int(rows[-1]) + 1,
        window.left + int(cols[-1]) + 1,
    )


def part_of(inner: Window, outer: Window) -> tuple[slice, slice]:
    """The index of ``inner`` in an array that covers ``outer``."""
    return (
        slice(inner.top - outer.top, inner.bottom - outer.top),
        slice(inner.left - outer.left, inner.right - outer.left),
    )


@dataclass(frozen=True, slots=True)
class Tile:
    """A non-empty mask in a window: bits in row order, packed and deflated."""

    window: Window
    bits: bytes

    @classmethod
    def pack(cls, window: Window, mask: Mask) -> Tile:
        """Pack ``mask`` (rows, cols) bool of ``window``."""
        return cls(window, zlib.compress(np.packbits(mask).tobytes(), 1))

    def mask(self) -> Mask:
        """(rows, cols) bool of the tile's window."""
        packed = np.frombuffer(zlib.decompress(self.bits), np.uint8)
        count = self.window.height * self.window.width
        return np.unpackbits(packed, count=count).reshape(self.window.shape).astype(bool)


@dataclass(frozen=True, slots=True)
class Region:
    """The pixels of an object in one plane as tiles that do not overlap; no tiles: no pixels."""

    tiles: tuple[Tile, ...] = ()

    @classmethod
    def pack(cls, masks: Iterable[tuple[Window, Mask]]) -> Region:
        """Pack masks of windows that do not overlap; empty margins and empty windows are dropped."""
        tiles = []
        for window, mask in masks:
            inner = tight(window, mask)
            if inner is not None:
                tiles.append(Tile.pack(inner, mask[part_of(inner, window)]))
        return cls(tuple(tiles))

    def masks(self) -> Iterator[tuple[Window, Mask]]:
        """Window and mask of every tile."""
        for tile in self.tiles:
            yield tile.window, tile.mask()

    @property
    def window(self) -> Window | None:
        """The smallest window around all tiles; None for an empty region."""
        bounds: Window | None = None
        for tile in self.tiles:
            bounds = tile.window if bounds is None else bounds.union(tile.window)
        return bounds

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return sum(int(np.count_nonzero(mask)) for _, mask in self.masks())

    def without(self, other: Region) -> Region:
        """The pixels of this region that ``other`` does not hold."""
        return Region.pack((window, _subtract(window, mask, other)) for window, mask in self.masks())

    def to_record(self) -> list[list[Any]]:
        """The region as JSON values: [top, left, bottom, right, base64 of the bits] per tile."""
        edges = [(t.window.top, t.window.left, t.window.bottom, t.window.right) for t in self.tiles]
        texts = [base64.b64encode(t.bits).decode() for t in self.tiles]
        return [[*map(int, row), text] for row, text in zip(edges, texts, strict=True)]

    @classmethod
    def from_record(cls, record: list[list[Any]]) -> Region:
        """The region that ``to_record`` wrote."""
        return cls(tuple(Tile(Window(*row[:4]), base64.b64decode(row[4])) for row in record))


def _subtract(window: Window, mask: Mask, other: Region) -> Mask:
    """``mask`` of ``window`` without the pixels of ``other``."""
    left = mask.copy()
    for tile in other.tiles:
        common = window.intersect(tile.window)
        if common.height and common.width:
            left[part_of(common, window)] &= ~tile.mask()[part_of(common, tile.window)]
    return left
