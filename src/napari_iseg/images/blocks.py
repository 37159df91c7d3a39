"""Averaging an image block by block, so that each of its chunks is decoded once and little is held."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_iseg.images.averaging import Means
from napari_iseg.prompts import Window

BLOCK_BYTES = 16 << 20  # read at once, as stored; more only where one chunk is larger
STRIP_VALUES = 2 << 20  # stretched at once, as floats
Borders = npt.NDArray[np.int64]
Span = tuple[int, int]
Convert = Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]]


def block_means(
    raw: Callable[[Window], npt.NDArray[Any]],
    convert: Convert,
    channels: int,
    window: Window,
    rows: Means,
    cols: Means,
    blocks: tuple[list[Span], list[Span]],
) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
    """Means of a window's converted pixels in the cells of a grid, some rows of cells after the other.

    What a block holds of cells that go on in the next one below is kept until then, as stored.

    Parameters
    ----------
    raw : callable
        (rows, cols, bands) values of a window.
    convert : callable
        (rows, cols, bands) values -> (rows, cols, channels) float32, as a stretch does; any rows at once.
        The last channels may be left out; they are 1 there.
    channels : int
        How many.
    window : Window
        What the cells cover.
    rows, cols : Means
        In pixels of the window.
    blocks : (rows, columns)
        How to go through the window; see ``split``.

    Yields
    ------
    rows of cells, and their (rows, cols, channels) float32 means
    """
    done = 0
    kept: dict[int, npt.NDArray[Any]] = {}
    for top, bottom in blocks[0]:
        stop = int(np.searchsorted(rows.end, bottom - window.top, "right"))
        means = []
        for left, right in blocks[1]:
            values = raw(Window(top, left, bottom, right))
            if left in kept:
                values = np.concatenate([kept.pop(left), values])
            if stop > done:
                means.append(_row_means(values, convert, channels, rows, slice(done, stop)))
            if stop < len(rows):
                kept[left] = values[rows.first[stop] - rows.first[done] :].copy()
        if stop > done:
            yield slice(done, stop), cols(np.concatenate(means, 1) if len(means) > 1 else means[0], 1)
        done = stop


def split(
    window: Window, borders: tuple[Borders, Borders], bytes_per_pixel: int
) -> tuple[list[Span], list[Span]]:
    """Rows and columns of the blocks of whole chunks that a window is read in, at most ``BLOCK_BYTES`` each.

    Parameters
    ----------
    borders : (rows, columns)
        Where chunks begin and end, from the image's first to its last pixel.
    """
    most = BLOCK_BYTES // bytes_per_pixel
    down = _spans(window.top, window.bottom, borders[0], most // window.width)
    tallest = max(bottom - top for top, bottom in down)
    return down, _spans(window.left, window.right, borders[1], most // tallest)


def _spans(start: int, stop: int, borders: Borders, most: int) -> list[Span]:
    """start to stop, cut at borders into parts of at most ``most`` pixels, or of one chunk."""
    spans = []
    while start < stop:
        following = int(np.searchsorted(borders, start, "right"))
        last = int(np.searchsorted(borders, start + most, "right")) - 1
        end = min(stop, int(borders[max(following, last)]))
        spans.append((start, end))
        start = end
    return spans


def _row_means(
    values: npt.NDArray[Any], convert: Convert, channels: int, rows: Means, cells: slice
) -> npt.NDArray[np.float32]:
    """Means along rows of (rows, cols, bands) stored values that begin with those of the first cell."""
    start, pixels, bands = int(rows.first[cells.start]), values.shape[1], values.shape[2]
    tallest = int((rows.end[cells] - rows.first[cells]).max())
    strip = max(1, STRIP_VALUES // (tallest * pixels * bands))
    means = np.ones((cells.stop - cells.start, pixels, channels), np.float32)
    for low in range(cells.start, cells.stop, strip):
        high = min(low + strip, cells.stop)
        part = values[rows.first[low] - start : rows.end[high - 1] - start]
        found = rows(convert(part), 0, slice(low, high))
        means[low - cells.start : high - cells.start, :, : found.shape[-1]] = found
    return means
