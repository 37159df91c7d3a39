"""Area averages along one axis of an image, on a coarser grid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse


class Means:
    """Means of the pixels that the cells of a grid cover along one axis.

    The weights are made once for the whole axis, so that the means of some cells are the same bits whichever
    cells are asked for together.

    Parameters
    ----------
    edges : (n + 1,) increasing float64
        Borders of the cells in pixels; fractions weigh.
    size : int
        Pixels along the axis.

    Attributes
    ----------
    first, end : (n,) int
        Each cell takes from pixel ``first`` up to, but not including, ``end``.
    """

    def __init__(self, edges: npt.NDArray[np.float64], size: int) -> None:
        self._weights = _weights(edges, size)
        self._same = len(edges) == size + 1 and np.array_equal(edges, np.arange(size + 1))
        self.first: npt.NDArray[np.int32] = self._weights.indices[self._weights.indptr[:-1]]
        self.end: npt.NDArray[np.int32] = self._weights.indices[self._weights.indptr[1:] - 1] + 1

    def __len__(self) -> int:
        return len(self.first)

    def __call__(
        self, pixels: npt.NDArray[np.float32], axis: int, cells: slice | None = None
    ) -> npt.NDArray[np.float32]:
        """Means along an axis of (rows, cols, bands) pixels: exactly those of the ``cells``, at least one."""
        if self._same:
            return pixels
        start, stop, _ = (cells or slice(None)).indices(len(self))
        weights = self._weights[start:stop, int(self.first[start]) : int(self.end[stop - 1])]
        moved = np.moveaxis(pixels, axis, 0)
        means = weights @ moved.reshape(len(moved), -1)
        return np.moveaxis(means.reshape(-1, *moved.shape[1:]), 0, axis)


def _weights(edges: npt.NDArray[np.float64], size: int) -> sparse.csr_array:
    """(cells, pixels) float32: how much of each pixel each cell holds; rows sum to 1."""
    # A pyramid level may have lost the last fraction of a pixel: cells beyond its end take its last pixel.
    start = np.minimum(edges[:-1], size - 1)
    with np.errstate(under="ignore"):  # what follows 0 is too small for a normal number
        stop = np.maximum(np.minimum(edges[1:], size), np.nextafter(start, np.inf))
    first = np.floor(start).astype(np.int64)
    reach = int((np.ceil(stop) - first).max())
    pixel = first[:, None] + np.arange(reach)
    inside = np.minimum(stop[:, None], pixel + 1) - np.maximum(start[:, None], pixel)
    weight = np.maximum(inside, 0) / (stop - start)[:, None]
    cell, held = np.nonzero(weight)
    values = weight[cell, held].astype(np.float32)
    return sparse.csr_array((values, (cell, pixel[cell, held])), shape=(len(start), size))
