"""The canvas on which the aerial scene is drawn, and its geometry."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from noise import Array, bumps
from skimage.draw import polygon2mask

SIDE = 768
PIXEL_SIZE = 0.25  # metres
FINE = 2  # everything is drawn at this many times the resolution, then averaged: soft edges
SUN = np.array([-0.52, -0.85])  # towards the sun, (row, col)
LINEN = np.array([0.97, 1.0, 0.9])  # how far lightness moves each colour


class Scene:
    """The canvas: colours, objects and the random stream."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.side = SIDE * FINE
        self.image = np.zeros((self.side, self.side, 3))
        self.labels = np.zeros((self.side, self.side), np.int64)
        self.busy = np.zeros((self.side, self.side), bool)
        self.grain = bumps(self.rng, (self.side, self.side), 2.2)
        self.patches = bumps(self.rng, (self.side, self.side), 26)

    def crop(self, points: Array) -> tuple[tuple[slice, slice], npt.NDArray[np.bool_]]:
        """Where a polygon of (row, col) in image pixels lies on the canvas, and its mask there."""
        fine = points * FINE
        low = np.clip(np.floor(fine.min(axis=0)).astype(int), 0, self.side)
        high = np.clip(np.ceil(fine.max(axis=0)).astype(int) + 1, 0, self.side)
        where = (slice(low[0], high[0]), slice(low[1], high[1]))
        return where, polygon2mask((max(high[0] - low[0], 0), max(high[1] - low[1], 0)), fine - low)

    def fill(self, points: Array, colour: Array, *, grain: float = 4.0, label: int = 0) -> None:
        """A polygon in one colour with a little grain."""
        where, mask = self.crop(points)
        self.image[where][mask] = colour + grain * (self.grain[where][mask])[:, None] * LINEN
        if label:
            self.labels[where][mask] = label

    def shade(self, points: Array, amount: float) -> None:
        """A shadow: darker, and bluer since only the sky lights it."""
        where, mask = self.crop(points)
        self.image[where][mask] *= 1 - amount * np.array([1.0, 0.95, 0.8])


def turned(height: float, width: float, angle: float, centre: Array) -> Array:
    """Corners of a rectangle, (4, 2)."""
    corners = np.array([[-height, -width], [-height, width], [height, width], [height, -width]]) / 2
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray(corners @ np.array([[cos, -sin], [sin, cos]]) + centre)


def ribbon(path: Array, width: float) -> Array:
    """Outline of a band along a path of (row, col)."""
    along = np.gradient(path, axis=0)
    side = np.stack([-along[:, 1], along[:, 0]], 1) / np.hypot(along[:, :1], along[:, 1:]) * width / 2
    return np.concatenate([path + side, (path - side)[::-1]])


def street_paths() -> list[Array]:
    """Two streets along the village, two across, gently bent."""
    at = np.linspace(-30, 800, 120)
    bow = 16 * np.sin(at / 190)
    return [
        np.stack([118 + bow, at], 1),
        np.stack([352 - bow * 1.2, at], 1),
        np.stack([at[:80], 236 + 12 * np.sin(at[:80] / 130)], 1),
        np.stack([at[:80], 588 - 14 * np.sin(at[:80] / 150)], 1),
    ]
