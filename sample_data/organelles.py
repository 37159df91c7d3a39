"""An electron-microscopy-like stack: mitochondria with cristae, vesicles, membranes, part of a nucleus."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from noise import Array, bumps
from scipy import ndimage

SHAPE = (16, 256, 256)
SCALE = (40.0, 8.0, 8.0)  # nanometres per voxel, (Z, Y, X)
STRETCH = SCALE[0] / SCALE[1]  # a step in z is this many pixels long


def make(seed: int = 29) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint16]]:
    """Image (16, 256, 256) uint8 and its organelles: mitochondria first, then vesicles, then the nucleus."""
    rng = np.random.default_rng(seed)
    grain = bumps(rng, SHAPE, (0.3, 1.1, 1.1))
    tissue = 168 + 9 * bumps(rng, SHAPE, (2, 14, 14)) + 13 * grain + 7 * bumps(rng, SHAPE, (0.6, 2.5, 2.5))
    ribosomes = ndimage.gaussian_filter((rng.random(SHAPE) < 0.006).astype(float), (0.3, 1.0, 1.0))
    tissue -= 330 * ribosomes
    labels = np.zeros(SHAPE, np.int64)
    _reticulum(rng, tissue)
    border = _border(rng, tissue)
    _nucleus(rng, tissue, labels)
    nucleus = labels > 0
    labels[:] = 0
    _mitochondria(rng, tissue, labels, nucleus | border)
    _vesicles(rng, tissue, labels, nucleus | border)
    labels[nucleus & (labels == 0)] = labels.max() + 1
    planes = np.stack([ndimage.gaussian_filter(plane, 0.75) for plane in tissue])
    planes += rng.normal(0, 4, (SHAPE[0], 1, 1))  # every section is exposed a little differently
    planes += 7.5 * rng.standard_normal(SHAPE) + 4 * bumps(rng, SHAPE, (0, 0.8, 0.8))
    return np.clip(np.rint(planes), 0, 255).astype(np.uint8), labels.astype(np.uint16)


def _grid() -> tuple[Array, Array, Array]:
    """Voxel positions in pixels of the plane, broadcastable."""
    depth, rows, cols = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    return depth * STRETCH, rows.astype(float), cols.astype(float)


def _membrane(distance: Array, width: float) -> Array:
    """1 on a surface, falling off within ``width`` pixels of it."""
    return np.asarray(np.exp(-((distance / width) ** 2)))


def _reticulum(rng: np.random.Generator, tissue: Array) -> None:
    """Pairs of dark sheets with a bright lumen between them, in parts of the cell only."""
    sheets = bumps(rng, SHAPE, (2.2, 11, 11))
    gradient = np.hypot(*np.gradient(sheets, axis=(1, 2))) + 0.012
    distance = np.abs(sheets - 0.1) / gradient
    where = 1 / (1 + np.exp(-8 * (bumps(rng, SHAPE, (2.5, 24, 24)) - 0.05)))
    tissue += where * (14 * _membrane(distance, 2.2) - 62 * _membrane(distance - 3.2, 1.1))


def _border(rng: np.random.Generator, tissue: Array) -> npt.NDArray[np.bool_]:
    """The plasma membranes of two cells that meet; answers where they are."""
    depth, rows, cols = _grid()
    bend = 13 * bumps(rng, SHAPE, (3, 30, 30))
    distance = (rows - 0.35 * cols - 168 + 0.5 * depth + bend) / 1.06
    tissue -= 85 * (_membrane(distance - 2.6, 1.2) + _membrane(distance + 2.6, 1.2))
    tissue -= 12 * (distance > 0)
    return np.abs(distance) < 5


def _nucleus(rng: np.random.Generator, tissue: Array, labels: npt.NDArray[np.int64]) -> None:
    """A corner of a nucleus with its double envelope and clumps of chromatin."""
    depth, rows, cols = _grid()
    bend = 4 * bumps(rng, SHAPE, (3, 16, 16))
    distance = np.sqrt((rows + 22) ** 2 + (cols - 268) ** 2 + (0.4 * (depth - 40)) ** 2) - 104 + bend
    inside = distance < 0
    chromatin = bumps(rng, SHAPE, (1.2, 6, 6))
    dark = 1 / (1 + np.exp(-5 * (chromatin + 0.9 * np.exp(distance / 9) - 0.45)))
    tissue[inside] = (tissue * 0.75 + 34 - 48 * dark)[inside]
    tissue -= 80 * (_membrane(distance, 1.3) + _membrane(distance - 5, 1.2))
    labels[distance < 5] = 1


def _bodies(rng: np.random.Generator, count: int, taken: npt.NDArray[np.bool_]) -> list[tuple[Array, float]]:
    """Distances to the axes of bent sausages that keep clear of each other, and their radii."""
    depth, rows, cols = _grid()
    bodies: list[tuple[Array, float]] = []
    busy = ndimage.binary_dilation(taken, iterations=4)
    for _ in range(260):
        radius = rng.uniform(10, 17)
        heading, tilt = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.35)
        step = np.array([np.sin(tilt), np.cos(tilt) * np.sin(heading), np.cos(tilt) * np.cos(heading)])
        start = rng.uniform((0, 0, 0), (SHAPE[0] * STRETCH, SHAPE[1], SHAPE[2]))
        turn, length = rng.normal(0, 0.12), int(rng.integers(3, 12))
        distance = np.full(SHAPE, np.inf)
        for _ in range(length):
            start = start + step * 7
            distance = np.minimum(
                distance, np.sqrt((depth - start[0]) ** 2 + (rows - start[1]) ** 2 + (cols - start[2]) ** 2)
            )
            step = np.array([step[0], step[1] + turn * step[2], step[2] - turn * step[1]])
        if len(bodies) < count and not (busy & (distance < radius + 3)).any():
            busy |= distance < radius + 3
            bodies.append((distance, radius))
    return bodies


def _mitochondria(
    rng: np.random.Generator, tissue: Array, labels: npt.NDArray[np.int64], taken: npt.NDArray[np.bool_]
) -> None:
    """Dark matrix, two membranes, cristae that run across."""
    _, rows, cols = _grid()
    for distance, radius in _bodies(rng, 30, taken):
        rough = distance + 0.9 * bumps(rng, SHAPE, (1.2, 7, 7)) - radius
        inside = rough < 0
        angle = rng.uniform(0, np.pi)
        warp = 3.2 * bumps(rng, SHAPE, (1.5, 9, 9))
        folds = np.sin((rows * np.sin(angle) + cols * np.cos(angle) + warp) * 2 * np.pi / rng.uniform(7, 10))
        cristae = 38 * np.clip(folds + 0.15, 0, 1) * np.clip(-rough / 4, 0, 1)
        matrix = rng.uniform(88, 112) + cristae + 0.35 * (tissue - 168)
        tissue[inside] = matrix[inside]
        tissue += 22 * _membrane(rough + 3.0, 1.1) - 58 * _membrane(rough, 1.3)
        labels[inside] = labels.max() + 1


def _vesicles(
    rng: np.random.Generator, tissue: Array, labels: npt.NDArray[np.int64], taken: npt.NDArray[np.bool_]
) -> None:
    """Bright and dense-core vesicles, some in clusters."""
    depth, rows, cols = _grid()
    busy = ndimage.binary_dilation((labels > 0) | taken, iterations=3)
    homes = rng.uniform((0, 20, 20), (SHAPE[0] * STRETCH, 236, 236), (4, 3))
    placed = 0
    for _ in range(260):
        home = homes[int(rng.integers(4))]
        centre = (
            home + rng.normal(0, 24, 3) if rng.random() < 0.75 else rng.uniform((0, 0, 0), (80, 256, 256))
        )
        radius = rng.uniform(5, 9.5)
        dense = rng.random() < 0.3
        distance = (
            np.sqrt((depth - centre[0]) ** 2 + (rows - centre[1]) ** 2 + (cols - centre[2]) ** 2) - radius
        )
        inside = distance < 0
        if placed >= 44 or inside.sum() < 40 or (busy & (distance < 2)).any():
            continue
        placed += 1
        busy |= distance < 2
        tissue[inside] = (204 + 0.3 * (tissue - 168))[inside]
        tissue -= 66 * _membrane(distance, 1.2)
        if dense:
            tissue -= 95 * np.clip((-distance - 2.2) / 2, 0, 1)
        labels[inside] = labels.max() + 1
