"""Seeded building blocks that the sample makers share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Array = npt.NDArray[np.float64]


def bumps(rng: np.random.Generator, shape: tuple[int, ...], sigma: float | tuple[float, ...]) -> Array:
    """Smooth noise of zero mean and unit deviation."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
    return np.asarray((field - field.mean()) / field.std())


def camera(rng: np.random.Generator, light: Array, *, gain: float, read: float) -> Array:
    """Photon noise (its normal limit: the random stream then never depends on the picture) and read noise."""
    shot = np.sqrt(np.clip(light, 0, None) * gain) * rng.standard_normal(light.shape)
    return np.asarray(light + shot + read * rng.standard_normal(light.shape))
