"""Area averages of an image on a coarser grid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse


def averaged(
    pixels: npt.NDArray[np.float32], row_edges: npt.NDArray[np.float64], col_edges: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Mean of (rows, cols, bands) pixels in each cell of a grid.

    Parameters
    ----------
    row_edges, col_edges : (n + 1,) increasing float64
        Borders of the cells in pixels of ``pixels``; 0 is the upper border of the first one, fractions weigh.

    Returns
    -------
    (len(row_edges) - 1, len(col_edges) - 1, bands) float32
    """
    return _along(_along(pixels, row_edges, 0), col_edges, 1)


def _along(
    pixels: npt.NDArray[np.float32], edges: npt.NDArray[np.float64], axis: int
) -> npt.NDArray[np.float32]:
    size = pixels.shape[axis]
    if len(edges) == size + 1 and np.array_equal(edges, np.arange(size + 1)):
        return pixels
    moved = np.moveaxis(pixels, axis, 0)
    means = _weights(edges, size) @ moved.reshape(size, -1)
    return np.moveaxis(means.reshape(-1, *moved.shape[1:]), 0, axis)


def _weights(edges: npt.NDArray[np.float64], size: int) -> sparse.csr_array:
    """(cells, pixels) float32: how much of each pixel each cell holds; rows sum to 1."""
    # A pyramid level may have lost the last fraction of a pixel: cells beyond its end take its last pixel.
    start = np.minimum(edges[:-1], size - 1)
    stop = np.maximum(np.minimum(edges[1:], size), np.nextafter(start, np.inf))
    first = np.floor(start).astype(np.int64)
    reach = int((np.ceil(stop) - first).max())
    pixel = first[:, None] + np.arange(reach)
    inside = np.minimum(stop[:, None], pixel + 1) - np.maximum(start[:, None], pixel)
    weight = np.maximum(inside, 0) / (stop - start)[:, None]
    cell, held = np.nonzero(weight)
    values = weight[cell, held].astype(np.float32)
    return sparse.csr_array((values, (cell, pixel[cell, held])), shape=(len(start), size))
