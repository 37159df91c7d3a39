"""Random outlines for made-up scenes: each function answers with a boolean mask in a small crop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.draw import polygon2mask

Mask = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float64]


def _fill(points: Points) -> Mask:
    """The filled polygon of (row, col) points, in a crop that just holds it."""
    points = points - points.min(axis=0) + 1
    shape = tuple(int(side) for side in np.ceil(points.max(axis=0)) + 2)
    return np.asarray(polygon2mask(shape, points), np.bool_)


def _turned(points: Points, angle: float) -> Points:
    """Points turned about the origin."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray(points @ np.array([[cos, -sin], [sin, cos]]), np.float64)


def _polar(radius: npt.NDArray[np.float64], aspect: float, angle: float) -> Points:
    """Points of a closed outline given by its radius at equal angles, stretched and turned."""
    theta = np.linspace(0, 2 * np.pi, len(radius), endpoint=False)
    return _turned(np.stack([radius * np.sin(theta) * aspect, radius * np.cos(theta) / aspect], 1), angle)


def _waves(
    rng: np.random.Generator, theta: npt.NDArray[np.float64], size: float, orders: range
) -> npt.NDArray[np.float64]:
    """A random Fourier series over ``theta`` whose terms fall off as 1/order."""
    total = np.zeros_like(theta)
    for order in orders:
        total += rng.normal(0, size / order) * np.cos(order * theta + rng.uniform(0, 2 * np.pi))
    return total


def ellipse(rng: np.random.Generator, size: float) -> Mask:
    """An ellipse, slightly dented: the look of a nucleus."""
    theta = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    dents = _waves(rng, theta, 0.08, range(2, 5))
    return _fill(_polar(size / 2 * (1 + dents), rng.uniform(0.65, 1), rng.uniform(0, np.pi)))


def lobes(rng: np.random.Generator, size: float) -> Mask:
    """A strongly wavy outline: an amoeboid cell, a lake, a leaf."""
    theta = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    waves = _waves(rng, theta, 0.35, range(2, 8))
    return _fill(
        _polar(size / 2 * np.exp(np.clip(waves, -1.2, 0.7)), rng.uniform(0.6, 1), rng.uniform(0, np.pi))
    )


def star(rng: np.random.Generator, size: float) -> Mask:
    """A star or gear with a random number of spikes."""
    count = int(rng.integers(4, 11))
    inner = rng.uniform(0.3, 0.75)
    radius = np.tile([1.0, inner], count) * rng.uniform(0.85, 1.15, 2 * count)
    return _fill(_polar(size / 2 * radius, rng.uniform(0.7, 1), rng.uniform(0, np.pi)))


def convex(rng: np.random.Generator, size: float) -> Mask:
    """A polygon with three to eight corners."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(4, 9))))
    points = (
        np.stack([np.sin(angles), np.cos(angles)], 1) * size / 2 * rng.uniform(0.7, 1.1, (len(angles), 1))
    )
    return _fill(points)


def rectangle(rng: np.random.Generator, size: float) -> Mask:
    """A turned rectangle."""
    tall = size / 2 * rng.uniform(0.25, 1)
    corners = np.array([[-tall, -size / 2], [-tall, size / 2], [tall, size / 2], [tall, -size / 2]])
    return _fill(_turned(corners, rng.uniform(0, np.pi)))


def building(rng: np.random.Generator, size: float) -> Mask:
    """An L, T or Z made of two rectangles at right angles."""
    a, b = size / 2 * rng.uniform(0.25, 0.6, 2)
    half = size / 2
    shift = rng.uniform(-0.9, 0.9) * (half - b)
    first = np.array([[-a, -half], [-a, half], [a, half], [a, -half]])
    second = np.array([[0, shift - b], [0, shift + b], [half * 1.4, shift + b], [half * 1.4, shift - b]])
    angle = rng.uniform(0, np.pi)
    corners = [_turned(part, angle) for part in (first, second)]
    low = np.minimum(corners[0].min(axis=0), corners[1].min(axis=0)) - 1
    high = np.maximum(corners[0].max(axis=0), corners[1].max(axis=0)) + 2
    shape = tuple(int(side) for side in np.ceil(high - low))
    return np.asarray(polygon2mask(shape, corners[0] - low) | polygon2mask(shape, corners[1] - low), np.bool_)


def ring(rng: np.random.Generator, size: float) -> Mask:
    """An outline with one to three holes."""
    mask = ellipse(rng, size) if rng.random() < 0.6 else building(rng, size)
    rows, cols = np.nonzero(mask)
    grid = np.ogrid[: mask.shape[0], : mask.shape[1]]
    many = int(rng.integers(1, 4))
    for _ in range(many):
        pick = int(rng.integers(len(rows)))
        centre = (mask.shape[0] / 2, mask.shape[1] / 2) if many == 1 else (rows[pick], cols[pick])
        radius = size * rng.uniform(0.12, 0.34) / many**0.6
        hole = (grid[0] - centre[0]) ** 2 + (grid[1] - centre[1]) ** 2 < radius**2
        mask &= ~hole
    return mask


def curve(rng: np.random.Generator, size: float) -> Mask:
    """A long thin bent band: a vessel, a road, a filament, a crack."""
    steps = 24
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, rng.uniform(0.02, 0.3), steps))
    length = size * rng.uniform(1.0, 2.0) / steps
    path = np.cumsum(np.stack([np.sin(heading), np.cos(heading)], 1) * length, axis=0)
    half = np.full(steps, max(1.2, size * rng.uniform(0.02, 0.1))) * np.linspace(
        1, rng.uniform(0.4, 1), steps
    )
    low = path.min(axis=0) - half.max() - 2
    shape = tuple(int(side) for side in np.ceil(path.max(axis=0) - low + half.max() + 2))
    dense = np.linspace(0, steps - 1, max(2, int(size * 2)))
    centres = np.stack([np.interp(dense, np.arange(steps), path[:, axis] - low[axis]) for axis in (0, 1)], 1)
    radius = np.zeros(shape)
    at = tuple(np.rint(centres).astype(int).T)
    radius[at] = np.interp(dense, np.arange(steps), half)
    distance, (rows, cols) = ndimage.distance_transform_edt(radius == 0, return_indices=True)
    return np.asarray(distance <= radius[rows, cols], np.bool_)


def blob(rng: np.random.Generator, size: float) -> Mask:
    """The largest piece of a thresholded smooth noise field: a coast line, an island, a tissue region."""
    side = max(8, int(size * 1.3))
    noise = smooth(rng, (side, side), size / rng.uniform(2, 6))
    rows, cols = np.ogrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    field = noise - 1.8 * (rows**2 + cols**2)
    pieces, count = ndimage.label(field > np.quantile(field, rng.uniform(0.5, 0.7)))
    if count == 0:
        return ellipse(rng, size)
    mask = pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
    return np.asarray(ndimage.binary_fill_holes(mask) if rng.random() < 0.7 else mask, np.bool_)


def smooth(rng: np.random.Generator, shape: tuple[int, int], period: float) -> npt.NDArray[np.float32]:
    """Noise with zero mean and unit deviation whose bumps are about ``period`` pixels wide, (rows, cols)."""
    if period < 1.5:
        return rng.standard_normal(shape, np.float32)
    counts = [max(4, int(np.ceil(side / period)) + 4) for side in shape]
    coarse = rng.standard_normal(counts, np.float32)
    weights = [_spline(side, count, period) for side, count in zip(shape, counts, strict=True)]
    field = weights[0] @ coarse @ weights[1].T
    result: npt.NDArray[np.float32] = (field - field.mean()) / max(float(field.std()), 1e-6)
    return result


def _spline(side: int, count: int, period: float) -> npt.NDArray[np.float32]:
    """(side, count) weights of a cubic B-spline with knots ``period`` pixels apart."""
    at = np.arange(side)[:, None] / period + 1.5 - np.arange(count)[None]
    far = np.abs(at)
    near = 2 / 3 - far**2 + far**3 / 2
    return np.where(far < 1, near, np.clip(2 - far, 0, None) ** 3 / 6).astype(np.float32)


Outlines = tuple[tuple[Callable[[np.random.Generator, float], Mask], float], ...]

OUTLINES: Outlines = (
    (ellipse, 3.0),
    (lobes, 2.0),
    (blob, 2.0),
    (convex, 1.0),
    (rectangle, 1.5),
    (building, 1.5),
    (ring, 1.2),
    (curve, 1.2),
    (star, 0.8),
)
