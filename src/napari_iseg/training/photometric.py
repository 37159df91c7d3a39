"""Strong intensity augmentation: other microscopes, stains, cameras and satellites than those in the
training folder.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]


def vary(image: npt.NDArray[np.uint8], rng: np.random.Generator, often: float = 1.0) -> Float:
    """(S, S, 3) uint8 -> (S, S, 3) float32 in [0, 1] with random tone, colour, shading, blur, resolution
    and noise.
    """
    x: Float = (image / np.float32(255)).astype(np.float32)
    if rng.random() < 0.3 * often:
        x = _grey(x, rng)
    if rng.random() < 0.2 * often:
        x = 1 - x
    if rng.random() < 0.1 * often:
        x = x[..., rng.permutation(3)]
    if rng.random() < 0.5 * often:
        # A grey of shares that sum to 1.0000001, inverted, is a hair below 0, and no number afterwards.
        x = x.clip(0, 1) ** np.float32(np.exp(rng.normal(0, 0.35)))
    if rng.random() < 0.7 * often:
        middle = x.mean((0, 1), keepdims=True)
        x = (x - middle) * np.float32(rng.uniform(0.35, 1.5)) + middle + np.float32(rng.uniform(-0.2, 0.2))
    if rng.random() < 0.3 * often:
        x = x * rng.uniform(0.8, 1.2, 3).astype(np.float32) + rng.uniform(-0.08, 0.08, 3).astype(np.float32)
    if rng.random() < 0.2 * often:
        x = x * _shading(x.shape[0], rng)[..., None]
    if rng.random() < 0.15 * often:
        x = _blurred(x, rng.uniform(0.5, 2.0))
    if rng.random() < 0.12 * often:
        x = _coarser(x, rng)
    if rng.random() < 0.35 * often:
        x = _noise(x, rng)
    return np.ascontiguousarray(np.clip(x, 0, 1), dtype=np.float32)


def _grey(x: Float, rng: np.random.Generator) -> Float:
    """One channel three times, or the channel through a random smooth colour table (as fluorescence is
    often shown).
    """
    share = rng.dirichlet((2, 3, 2)).astype(np.float32)
    grey = x @ share
    if rng.random() < 0.75:
        return np.repeat(grey[..., None], 3, axis=2)
    start, stop = rng.uniform(0, 1, (2, 3)).astype(np.float32)
    coloured: Float = start + grey[..., None] * (stop - start)
    return coloured


def _shading(size: int, rng: np.random.Generator) -> Float:
    coarse = rng.uniform(0.5, 1.3, (3, 3)).astype(np.float32)
    return _resized(coarse, size, cv2.INTER_CUBIC)


def _blurred(x: Float, sigma: float) -> Float:
    return np.asarray(cv2.GaussianBlur(x, (0, 0), sigma), np.float32)


def _resized(x: Float, size: int, how: int) -> Float:
    return np.asarray(cv2.resize(x, (size, size), interpolation=how), np.float32)


def _coarser(x: Float, rng: np.random.Generator) -> Float:
    size = x.shape[0]
    small = max(8, round(size * rng.uniform(0.3, 0.8)))
    return _resized(_resized(x, small, cv2.INTER_AREA), size, cv2.INTER_LINEAR)


def _noise(x: Float, rng: np.random.Generator) -> Float:
    strength = np.float32(np.exp(rng.uniform(np.log(0.01), np.log(0.12))))
    shape = x.shape if rng.random() < 0.4 else (*x.shape[:2], 1)
    noise: Float = rng.standard_normal(shape, dtype=np.float32)
    if rng.random() < 0.3:
        noise = _blurred(noise, 1.0).reshape(shape) * 3
    if rng.random() < 0.3:  # shot noise grows with the signal
        noise = noise * np.sqrt(np.clip(x, 0, 1)) * 1.5
    noisy: Float = x + strength * noise
    return noisy
