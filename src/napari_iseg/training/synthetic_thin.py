"""Random outlines with thin, branched and holed parts: what refinement networks have to learn.

Each function answers like those of `synthetic_shapes`: a boolean mask in a small crop. Widths are in pixels
and at least 1, so that nothing is thinner than the picture can show.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_iseg.training import synthetic_shapes as shapes
from napari_iseg.training.synthetic_shapes import Mask

Points = npt.NDArray[np.float64]


def _strokes(lines: list[tuple[Points, float, float]]) -> Mask:
    """Lines of (points (N, 2), width at the first, width at the last) drawn into the crop that holds them."""
    everything = np.concatenate([points for points, _, _ in lines])
    widest = max(max(first, last) for _, first, last in lines)
    low = everything.min(axis=0) - widest - 2
    shape = tuple(int(side) for side in np.ceil(everything.max(axis=0) - low + widest + 2))
    mask = np.zeros(shape, np.uint8)
    for points, first, last in lines:
        steps = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
        dense = np.linspace(0, steps[-1], max(2, int(steps[-1] / 3)))
        placed = points - low
        rows, cols = (np.rint(np.interp(dense, steps, placed[:, axis])).astype(int) for axis in (0, 1))
        widths = np.interp(dense, [0, steps[-1]], [first, last])
        for i in range(len(dense) - 1):
            ends = (int(cols[i]), int(rows[i])), (int(cols[i + 1]), int(rows[i + 1]))
            cv2.line(mask, *ends, 1, max(1, round(float(widths[i]))))
    return np.asarray(mask, np.bool_)


def _thin(rng: np.random.Generator, size: float) -> float:
    """A stroke's width: one pixel to a twentieth of the object."""
    return float(np.exp(rng.uniform(0, np.log(max(1.5, size / 20)))))


def _wave(rng: np.random.Generator, start: Points, heading: float, length: float, bend: float) -> Points:
    """A bent line from ``start``, (16, 2) points."""
    turns = heading + np.cumsum(rng.normal(0, bend, 15))
    steps = np.stack([np.sin(turns), np.cos(turns)], 1) * length / 15
    return np.concatenate([start[None], start + np.cumsum(steps, axis=0)])


def comb(rng: np.random.Generator, size: float) -> Mask:
    """A bar with teeth: a comb, a fence, a rake, the cilia of a cell."""
    angle, count = rng.uniform(0, 2 * np.pi), int(rng.integers(4, 16))
    along = np.array([np.sin(angle), np.cos(angle)])
    across = np.array([-along[1], along[0]])
    width = _thin(rng, size)
    lines = [(np.stack([-along, along]) * size / 2, width * rng.uniform(1, 4), width * rng.uniform(1, 4))]
    tooth = size * rng.uniform(0.2, 0.6)
    for place in np.linspace(-1, 1, count) * size / 2:
        length = tooth * rng.uniform(0.8, 1.2)
        both = rng.random() < 0.1
        start = along * place - across * (length if both else 0)
        lines.append((np.stack([start, along * place + across * length]), width, width * rng.uniform(0.5, 1)))
    return _strokes(lines)


def net(rng: np.random.Generator, size: float) -> Mask:
    """Crossing bars with open meshes: a net, a grid, a scaffold, a window."""
    angle, skew = rng.uniform(0, np.pi), rng.uniform(1.1, 2.0)
    width = _thin(rng, size)
    lines = []
    for heading in (angle, angle + skew):
        along = np.array([np.sin(heading), np.cos(heading)])
        across = np.array([-along[1], along[0]])
        count = int(np.clip(rng.integers(3, 11), 2, max(3, size / (width + 3))))
        for place in np.linspace(-0.5, 0.5, count) * size * rng.uniform(0.6, 1):
            lines.append((np.stack([-along, along]) * size / 2 + across * place, width, width))
    return _strokes(lines)


def hairs(rng: np.random.Generator, size: float) -> Mask:
    """A body with bent hairs: an insect, a spiky cell, a plant with fine leaves."""
    body = max(2.0, size * rng.uniform(0.08, 0.25))
    lines: list[tuple[Points, float, float]] = [(np.array([[0.0, 0.0], [0.0, 0.5]]), 2 * body, 2 * body)]
    width, bend = _thin(rng, size), rng.uniform(0, 0.12)
    for angle in rng.uniform(0, 2 * np.pi, int(rng.integers(3, 14))):
        start = np.array([np.sin(angle), np.cos(angle)]) * body * 0.8
        line = _wave(rng, start, angle, size / 2 * rng.uniform(0.6, 1.2), bend)
        lines.append((line, width, max(1.0, width * rng.uniform(0.3, 1))))
    return _strokes(lines)


def tree(rng: np.random.Generator, size: float) -> Mask:
    """A branching structure: a vessel, a root, a neuron, a river."""
    width = max(1.5, 2 * _thin(rng, size))
    lines: list[tuple[Points, float, float]] = []
    waiting = [(np.zeros(2), rng.uniform(0, 2 * np.pi), size * rng.uniform(0.3, 0.5), width, 0)]
    while waiting and len(lines) < 40:
        start, heading, length, thick, depth = waiting.pop(0)
        line = _wave(rng, start, heading, length, rng.uniform(0.02, 0.15))
        lines.append((line, thick, max(1.0, thick * 0.7)))
        if depth < 4:
            for side in rng.permutation([-1, 1])[: int(rng.integers(1, 3)) if depth else 2]:
                turned = heading + side * rng.uniform(0.3, 0.9)
                shorter = length * rng.uniform(0.5, 0.8)
                waiting.append((line[-1], turned, shorter, max(1.0, thick * 0.7), depth + 1))
    return _strokes(lines)


def lace(rng: np.random.Generator, size: float) -> Mask:
    """A blob full of holes: a sponge, lace, foam, a leaf that was eaten."""
    mask = shapes.lobes(rng, size)
    period = max(4.0, size * rng.uniform(0.04, 0.15))
    holes = shapes.smooth(rng, (mask.shape[0], mask.shape[1]), period) > rng.uniform(-0.2, 0.8)
    rim = mask & ~ndimage.binary_erosion(mask, iterations=max(1, round(_thin(rng, size))))
    pierced = (mask & ~holes) | rim
    parts, count = ndimage.label(pierced, np.ones((3, 3)))
    if count < 2:
        return np.asarray(pierced, np.bool_)
    return np.asarray(parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:])), np.bool_)


def coil(rng: np.random.Generator, size: float) -> Mask:
    """A spiral or a wire frame of rings: a spring, a wheel with spokes, an aerial."""
    width, turns = _thin(rng, size), rng.uniform(1.5, 4)
    at = np.linspace(0.15, 1, 120)
    angle = 2 * np.pi * turns * at + rng.uniform(0, 2 * np.pi)
    if rng.random() < 0.5:
        spiral = np.stack([np.sin(angle), np.cos(angle)], 1) * (at * size / 2)[:, None]
        return _strokes([(spiral, width, width)])
    circle = np.linspace(0, 2 * np.pi, 64)
    ring = np.stack([np.sin(circle), np.cos(circle)], 1) * size / 2
    lines = [(ring, width, width)]
    for spoke in np.linspace(0, 2 * np.pi, int(rng.integers(3, 16)), endpoint=False):
        away = np.array([np.sin(spoke), np.cos(spoke)]) * size / 2
        lines.append((np.stack([away * 0.0, away]), width, width))
    return _strokes(lines)


OUTLINES: shapes.Outlines = (
    (hairs, 1.5),
    (tree, 1.5),
    (comb, 1.0),
    (net, 1.0),
    (lace, 1.0),
    (coil, 0.7),
    (shapes.curve, 1.0),
    (shapes.ring, 0.5),
)
