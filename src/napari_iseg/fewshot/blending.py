"""Raised-cosine blending of overlapping tiles."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from napari_iseg.fewshot.frame import Grid
from napari_iseg.labels.regions import part_of
from napari_iseg.prompts import Window

Probability = npt.NDArray[np.float32]


def axis_weights(borders: list[int], halo: int, number: int, start: int, stop: int) -> Probability:
    """Weight of one tile along one axis, for the pixels from ``start`` to ``stop``.

    At each border between two cores a raised cosine hands over within ``halo`` pixels to both sides; a tile's
    weight is the difference of its two ramps, so the weights of all tiles sum to 1 at every pixel, even where
    a thin last core makes two ramps overlap.

    Returns
    -------
    (stop - start,) float32
    """
    centres = np.arange(start, stop, dtype=np.float64) + 0.5
    after = np.ones(len(centres)) if number == 0 else _ramp(centres, borders[number], halo)
    last = number == len(borders) - 2
    beyond = np.zeros(len(centres)) if last else _ramp(centres, borders[number + 1], halo)
    return (after - beyond).astype(np.float32)


def blend(
    grid: Grid, target: Window, parts: Iterable[tuple[tuple[int, int], Probability]], rows: int
) -> Probability:
    """The blended probabilities of a window of a plane.

    Parameters
    ----------
    grid : of the plane
    target : the window, inside one core
    parts : tile (row, col) and its (rows, h, w) probabilities over its own window; the order decides the last
        bit, so give it always the same
    rows : first axis of the probabilities

    Returns
    -------
    (rows, *target.shape) float32
    """
    total = np.zeros((rows, *target.shape), np.float32)
    for (row, col), values in parts:
        window = grid.window(row, col)
        common = window.intersect(target)
        if not (common.height and common.width):
            continue
        along_rows = axis_weights(grid.borders(0), grid.halo, row, common.top, common.bottom)
        along_cols = axis_weights(grid.borders(1), grid.halo, col, common.left, common.right)
        weight = along_rows[:, None] * along_cols
        inner = (slice(None), *part_of(common, window))
        total[(slice(None), *part_of(common, target))] += weight * values[inner]
    return total


def _ramp(centres: npt.NDArray[np.float64], border: int, halo: int) -> npt.NDArray[np.float64]:
    """0 before ``border - halo``, 1 after ``border + halo``, half a cosine between."""
    if halo == 0:
        return (centres >= border).astype(np.float64)
    phase = np.clip((centres - border + halo) / (2 * halo), 0, 1)
    return 0.5 - 0.5 * np.cos(np.pi * phase)
