"""Area averages of an image on a coarser grid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def averaged(
    pixels: npt.NDArray[np.float32], row_edges: npt.NDArray[np.float64], col_edges: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Mean of (rows, cols, bands) pixels in each cell of a grid.

    Parameters
    ----------
    row_edges, col_edges : (n + 1,) increasing float64
        Borders of the cells in pixels of ``pixels`` (0 is the upper border of the first pixel); fractions
        weigh.

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
    edges = np.clip(edges, 0, size)
    moved = np.moveaxis(pixels, axis, 0)
    # The integral up to each edge: whole pixels from a running sum, and the fraction of the pixel it cuts.
    total = np.zeros((size + 1, *moved.shape[1:]), np.float64)
    np.cumsum(moved, axis=0, dtype=np.float64, out=total[1:])
    whole = np.minimum(edges.astype(np.int64), size - 1)
    fraction = (edges - whole).reshape(-1, *[1] * (moved.ndim - 1))
    integral = total[whole] + fraction * moved[whole]
    widths = np.diff(edges).reshape(-1, *[1] * (moved.ndim - 1))
    # A pyramid level may have lost the last fraction of a pixel: cells beyond its end take its last pixel.
    means = np.where(
        widths > 0, np.diff(integral, axis=0) / np.where(widths > 0, widths, 1), moved[whole[:-1]]
    )
    return np.moveaxis(np.asarray(means, np.float32), 0, axis)
