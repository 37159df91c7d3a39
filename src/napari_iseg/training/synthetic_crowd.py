"""Made crowds of small bodies, as nuclei in tissue or in an embryo: dim beside bright, many of them touching.

`synthetic` puts a few dozen objects of one surface on a background. Here there are hundreds, in an optical
section of a thick specimen: light adds up, what lies above or below the focus is blurred and nobody's object.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.segmentation import relabel_sequential

from napari_iseg.training.synthetic import MIN_OBJECT, Labels
from napari_iseg.training.synthetic_shapes import Mask, ellipse, smooth
from napari_iseg.training.synthetic_textures import Field

_SIDES = (np.log(8), np.log(34))  # pixels across, drawn evenly in the logarithm


def random_crowd(
    rng: np.random.Generator, size: int | tuple[int, int]
) -> tuple[npt.NDArray[np.uint8], Labels]:
    """A made picture of a crowd and its objects.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides everything: equal generators give equal pictures.
    size : int or (rows, cols)

    Returns
    -------
    image : (rows, cols, 3) uint8
    labels : (rows, cols) int32, 0 is background, objects are 1..n without gaps
    """
    shape = (size, size) if isinstance(size, int) else size
    side = float(np.exp(rng.uniform(*_SIDES)))
    sharp, labels = _bodies(rng, shape, side, in_focus=True)
    beyond, _ = _bodies(rng, shape, side, in_focus=False)
    light = sharp + beyond * np.float32(rng.uniform(0, 0.8))
    # What scatters on its way out lies over everything as a haze.
    light += ndimage.gaussian_filter(light, side * rng.uniform(1, 3)) * np.float32(rng.uniform(0, 0.6))
    light = ndimage.gaussian_filter(light, float(np.exp(rng.uniform(np.log(0.4), np.log(0.12 * side)))))
    return _expose(rng, light), relabel_sequential(labels)[0].astype(np.int32)


def _bodies(
    rng: np.random.Generator, shape: tuple[int, int], side: float, *, in_focus: bool
) -> tuple[Field, Labels]:
    """Light of bodies in a part of the plane, (rows, cols) float32, and which pixel is whose."""
    light, labels = np.zeros(shape, np.float32), np.zeros(shape, np.int32)
    spread, grain = rng.uniform(0.1, 0.7), rng.uniform(0.0, 0.4)
    centres = _centres(rng, shape, side * rng.uniform(0.8, 1.6))
    if rng.random() < 0.6:
        tissue = smooth(rng, shape, max(shape) / rng.uniform(1, 4))
        limit = rng.uniform(-1, 0.5)
        centres = [
            c for c in centres if tissue[tuple(np.clip(c.astype(int), 0, np.array(shape) - 1))] > limit
        ]
    for number, centre in enumerate(centres, start=1):
        mask = ellipse(rng, side * float(np.exp(rng.normal(0, 0.18))))
        bright = float(np.exp(rng.normal(0, spread)))
        _add(light, labels, mask, centre, bright * _surface(rng, mask, grain), number)
    if not in_focus:
        return ndimage.gaussian_filter(light, side * rng.uniform(0.2, 0.6)), labels
    sizes = np.bincount(labels.ravel())
    labels[sizes[labels] < MIN_OBJECT] = 0
    return light, labels


def _centres(rng: np.random.Generator, shape: tuple[int, int], apart: float) -> list[npt.NDArray[np.float64]]:
    """Points of a hexagonal grid ``apart`` pixels wide, each moved at random, in random order."""
    rows = np.arange(-1, shape[0] / (apart * 0.87) + 1)
    cols = np.arange(-1, shape[1] / apart + 1)
    grid = np.stack(np.meshgrid(rows, cols, indexing="ij"), 2)
    grid[1::2, :, 1] += 0.5
    points = grid.reshape(-1, 2) * (apart * 0.87, apart)
    points = points + rng.normal(0, apart * rng.uniform(0.05, 0.5), points.shape)
    points = points[rng.random(len(points)) < rng.uniform(0.4, 1)]
    return list(rng.permutation(points))


def _surface(rng: np.random.Generator, mask: Mask, grain: float) -> Field:
    """Mottled, and often brighter in the middle, where the body is thicker; (rows, cols) float32 about 1."""
    surface = 1 + np.float32(grain) * smooth(rng, mask.shape, max(mask.shape) / 4)  # type: ignore[arg-type]
    depth = ndimage.distance_transform_edt(mask).astype(np.float32)
    dome = np.sqrt(depth / max(float(depth.max()), 1))
    share = np.float32(rng.uniform(0, 0.6))
    return np.asarray(np.clip(surface, 0.3, None) * (1 - share + share * dome), np.float32)


def _add(
    light: Field, labels: Labels, mask: Mask, centre: npt.NDArray[np.float64], surface: Field, number: int
) -> None:
    """Add one body's light where its crop meets the picture; a pixel belongs to whoever shines most there."""
    start = np.rint(centre - np.array(mask.shape) / 2).astype(int)
    low, high = np.maximum(start, 0), np.minimum(start + mask.shape, labels.shape)
    if (high <= low).any():
        return
    there = (slice(low[0], high[0]), slice(low[1], high[1]))
    own = (slice(low[0] - start[0], high[0] - start[0]), slice(low[1] - start[1], high[1] - start[1]))
    shine = np.where(mask[own], surface[own], 0)
    labels[there][mask[own] & (shine > light[there])] = number
    light[there] += shine


def _expose(rng: np.random.Generator, light: Field) -> npt.NDArray[np.uint8]:
    """Fluorescence on black or, in a third of the pictures, a stain on a bright field; with noise."""
    light = light / max(float(np.quantile(light, rng.uniform(0.97, 1))), 1e-3)
    if rng.random() < 0.35:
        stain = rng.uniform(0.2, 1.6, 3) if rng.random() < 0.8 else np.full(3, rng.uniform(0.3, 1.6))
        glass = rng.uniform(0.65, 1, 3).astype(np.float32)
        image = glass * np.exp(-light[..., None] * stain.astype(np.float32))
    else:
        dark, gain = rng.uniform(0, 0.25), np.exp(rng.uniform(np.log(0.15), np.log(1.3)))
        image = np.repeat((dark + gain * light)[..., None], 3, axis=2).astype(np.float32)
    noise = float(np.exp(rng.uniform(np.log(0.003), np.log(0.06))))
    grey = image.shape[2] == 3 and bool(np.ptp(image, axis=2).max() == 0)
    grains = rng.standard_normal(image.shape[:2] + ((1,) if grey else (3,)), np.float32)
    image = image + np.float32(noise) * np.sqrt(np.clip(image, 0.02, 1)) * grains
    if rng.random() < 0.3:  # stretched, as most people look at their images
        lowest, highest = np.quantile(image[::4, ::4], (0.005, 0.995))
        image = (image - lowest) / max(float(highest - lowest), 0.05)
    return np.asarray((np.clip(image, 0, 1) * 255).astype(np.uint8))
