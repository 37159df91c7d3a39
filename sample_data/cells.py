"""A fluorescence-like field of nuclei: clusters that touch, chromatin, haze, uneven light, camera noise."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from noise import Array, bumps, camera
from scipy import ndimage

SIDE = 512
PIXEL_SIZE = 0.325  # micrometres
MIN_AREA = 150


def make(seed: int = 11) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]]:
    """Image (512, 512) uint16 of a 12-bit camera and its nuclei, (512, 512) uint16."""
    rng = np.random.default_rng(seed)
    depth = np.full((SIDE, SIDE), np.inf)  # normalised radius of the nucleus a pixel belongs to
    labels = np.zeros((SIDE, SIDE), np.int64)
    for number, centre in enumerate(_centres(rng), start=1):
        radius = _radius(rng, centre)
        nearer = (radius < 1) & (radius < depth)
        labels[nearer] = number
        depth = np.minimum(depth, radius)
    labels = _tidy(labels)
    light = _stain(rng, labels, depth)
    haze = ndimage.gaussian_filter(light, 14) * 0.35 + ndimage.gaussian_filter(light, 45) * 0.3
    sharp = ndimage.gaussian_filter(light, 1.1) + haze + 95 + 25 * bumps(rng, light.shape, 70)
    rows, cols = np.ogrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    lamp = 1.08 - 0.32 * ((rows + 0.25) ** 2 + (cols - 0.15) ** 2)
    image = camera(rng, sharp * lamp, gain=1.6, read=7.0) + 102
    return np.clip(np.rint(image), 0, 4095).astype(np.uint16), labels.astype(np.uint16)


def _centres(rng: np.random.Generator) -> Array:
    """Positions of the nuclei: a few colonies and some that lie alone; none lie on top of each other."""
    placed: list[Array] = []
    colonies = rng.uniform(40, SIDE - 40, (6, 2))
    for _ in range(1500):
        colony = colonies[int(rng.integers(len(colonies)))]
        spot = colony + rng.normal(0, 48, 2) if rng.random() < 0.85 else rng.uniform(0, SIDE, 2)
        clear = all(np.hypot(*(spot - other)) > 23 for other in placed)
        if clear and (spot > -6).all() and (spot < SIDE + 6).all() and len(placed) < 105:
            placed.append(spot)
    return np.array(placed)


def _radius(rng: np.random.Generator, centre: Array) -> Array:
    """Distance from a nucleus' centre in units of its own outline: below 1 is inside."""
    rows, cols = np.ogrid[:SIDE, :SIDE]
    size = 15.5 * np.exp(rng.normal(0, 0.14))
    aspect, turn = rng.uniform(0.72, 1.0), rng.uniform(0, np.pi)
    down, right = rows - centre[0], cols - centre[1]
    major = (down * np.cos(turn) + right * np.sin(turn)) / (size / np.sqrt(aspect))
    minor = (right * np.cos(turn) - down * np.sin(turn)) / (size * np.sqrt(aspect))
    angle = np.arctan2(minor, major)
    dents = 1 + sum(rng.normal(0, 0.11 / k) * np.cos(k * angle + rng.uniform(0, 6.3)) for k in (2, 3, 4))
    return np.asarray(np.hypot(major, minor) / dents)


def _tidy(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The largest piece of every nucleus, slivers dropped, numbered 1..n."""
    result = np.zeros_like(labels)
    for number in range(1, int(labels.max()) + 1):
        pieces, _ = ndimage.label(labels == number)
        sizes = np.bincount(pieces.ravel(), minlength=2)[1:]
        if sizes.max() >= MIN_AREA:
            result[pieces == 1 + int(np.argmax(sizes))] = result.max() + 1
    return result


def _stain(rng: np.random.Generator, labels: npt.NDArray[np.int64], depth: Array) -> Array:
    """Light of every nucleus: its own brightness, thicker in the middle, chromatin, nucleoli."""
    shape = labels.shape
    chromatin = 1 + 0.13 * bumps(rng, shape, 1.6) + 0.12 * bumps(rng, shape, 4)
    spots = bumps(rng, shape, 3.2)
    nucleoli = 1 - 0.42 * ndimage.gaussian_filter((spots > 1.55).astype(float), 1)
    count = int(labels.max())
    level = np.concatenate([[0.0], 620 * np.exp(rng.normal(0, 0.32, count))])
    dividing = rng.random(count + 1) < 0.05
    thick = np.sqrt(np.clip(1.12 - np.minimum(depth, 1) ** 2, 0, None))
    light = level[labels] * thick * chromatin * nucleoli
    return np.where(dividing[labels], np.minimum(level[labels] * 1.7, 1500) * chromatin * thick, light)
