"""Patch: the current object on the grid of its area, as a viewer shows it, or tile by tile at level 0."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_iseg.interactive.state import State
from napari_iseg.labels.regions import Region, part_of, tight, tiles_of
from napari_iseg.prompts import Window


@dataclass(frozen=True, eq=False)
class Patch:
    """A window of a plane with the current object.

    Attributes
    ----------
    window
        The area worked on, level-0 pixels.
    scale
        Level-0 pixels per pixel of ``mask`` and ``probability``.
    mask : (ceil(window.height / scale), ceil(window.width / scale)) bool
        ``probability > threshold``.
    probability : (ceil(window.height / scale), ceil(window.width / scale)) float32
        Of the object, in [0, 1].
    threshold
        A pixel is object where the probability is larger.
    valid : callable or None
        window -> (rows, cols) bool, where the image has values at full resolution, or None everywhere; for
        a coarse grid, whose pixels may hold some of both.
    """

    window: Window
    scale: int
    mask: NDArray[np.bool_]
    probability: NDArray[np.float32]
    threshold: float
    valid: Callable[[Window], NDArray[np.bool_] | None] | None = None

    @classmethod
    def of(
        cls, state: State, threshold: float, valid: Callable[[Window], NDArray[np.bool_] | None] | None = None
    ) -> Patch:
        """The patch of a predictor's state; ``valid`` as above."""
        mask = np.asarray(state.probability > threshold)
        return cls(state.area, state.scale, mask, state.probability, threshold, valid)

    @classmethod
    def of_region(cls, region: Region) -> Patch:
        """The patch of known pixels, at full resolution; the region must not be empty."""
        window = region.window
        assert window is not None
        mask = np.zeros(window.shape, np.bool_)
        for tile, pixels in region.masks():
            mask[part_of(tile, window)] |= pixels
        return cls(window, 1, mask, mask.astype(np.float32), 0.5)

    @property
    def extent(self) -> Window | None:
        """The smallest window around the mask, up to ``scale`` - 1 pixels too large; None without pixels."""
        inner = tight(Window(0, 0, *self.mask.shape), self.mask)
        if inner is None:
            return None
        top, left = self.window.top, self.window.left
        edges = (inner.top - 1, inner.left - 1, inner.bottom + 1, inner.right + 1) if self.scale > 1 else None
        grid = inner if edges is None else Window(*edges)
        scaled = Window(*(edge * self.scale for edge in (grid.top, grid.left, grid.bottom, grid.right)))
        placed = Window(scaled.top + top, scaled.left + left, scaled.bottom + top, scaled.right + left)
        return placed.intersect(self.window)

    def full_mask(self, window: Window) -> NDArray[np.bool_]:
        """The mask at full resolution, (rows, cols) of any ``window``; nothing lies outside the patch."""
        mask = np.zeros(window.shape, np.bool_)
        common = window.intersect(self.window)
        if common.height and common.width:
            mask[part_of(common, window)] = self.full(common) > self.threshold
        return mask

    def full(self, window: Window) -> NDArray[np.float32]:
        """Probability at full resolution, (rows, cols) of ``window``, which must lie inside the patch.

        On a coarse grid it is interpolated linearly between the centres of the grid pixels; a mask made from
        it has smooth borders, not steps. It is 0 where the image has no value.
        """
        if self.scale == 1:
            return self.probability[part_of(window, self.window)]
        rows = _between(window.top - self.window.top, window.height, self.scale, self.probability.shape[0])
        cols = _between(window.left - self.window.left, window.width, self.scale, self.probability.shape[1])
        (low, high, weight), (left, right, share) = rows, cols
        across = self.probability[low] * (1 - weight)[:, None] + self.probability[high] * weight[:, None]
        fine = np.asarray(across[:, left] * (1 - share) + across[:, right] * share, np.float32)
        valid = self.valid(window) if self.valid is not None else None
        return fine if valid is None else np.where(valid, fine, np.float32(0))

    def tiles(self) -> Iterator[tuple[Window, NDArray[np.bool_]]]:
        """Full-resolution masks of the tiles that may hold the object; others are not looked at."""
        for window in tiles_of(self.window):
            if self.mask[self._touched(window)].any():
                yield window, self.full(window) > self.threshold

    def paste_mask(self, plane: NDArray[np.bool_]) -> None:
        """Write the mask into a full plane of False."""
        for window, mask in self.tiles():
            plane[window.slices] = mask

    def paste_probability(self, plane: NDArray[np.float32]) -> None:
        """Write the probability into a full plane of zeros."""
        for window in tiles_of(self.window):
            if self.probability[self._touched(window)].any():
                plane[window.slices] = self.full(window)

    def _touched(self, window: Window) -> tuple[slice, slice]:
        """The grid pixels that the interpolation inside ``window`` uses."""
        top, left = window.top - self.window.top, window.left - self.window.left
        return (
            slice(max(0, top // self.scale - 1), (top + window.height) // self.scale + 2),
            slice(max(0, left // self.scale - 1), (left + window.width) // self.scale + 2),
        )


def _between(
    start: int, count: int, scale: int, size: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Lower and upper grid pixel and the weight of the upper one, for ``count`` pixels from ``start`` on."""
    position = np.clip((np.arange(start, start + count) + 0.5) / scale - 0.5, 0, size - 1)
    low = np.floor(position).astype(np.intp)
    return low, np.minimum(low + 1, size - 1), (position - low).astype(np.float32)
