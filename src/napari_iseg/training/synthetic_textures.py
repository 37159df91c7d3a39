"""Random surfaces for made-up scenes: what fills an object and what lies behind it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from napari_iseg.training.synthetic_shapes import smooth

Field = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Texture:
    """A surface: a colour and the patterns on it, in intensities of [0, 1]."""

    colour: npt.NDArray[np.float32]  # (C,)
    noise: tuple[tuple[float, float], ...] = ()  # (period in pixels, amplitude)
    stripes: tuple[float, float, float] | None = None  # (period in pixels, angle, amplitude)
    speckle: tuple[float, float, float] | None = None  # (period, share of pixels, amplitude)
    slope: float = 0.0  # amplitude of a linear gradient over the region
    tint: npt.NDArray[np.float32] = field(
        default_factory=lambda: np.ones(1, np.float32)
    )  # (C,) pattern per channel

    def varied(self, rng: np.random.Generator, amount: float) -> Texture:
        """The same surface as found on another object: its colour moved by about ``amount``."""
        shift = rng.normal(0, amount) + rng.normal(0, amount / 3, self.colour.shape)
        return replace(self, colour=(self.colour + shift).astype(np.float32))


def random_texture(rng: np.random.Generator, colour: npt.NDArray[np.float32], strength: float) -> Texture:
    """A texture of random kind whose patterns have an amplitude of about ``strength``."""
    noise = tuple(
        (float(np.exp(rng.uniform(0, np.log(60)))), float(strength * rng.uniform(0.2, 1)))
        for _ in range(int(rng.integers(1, 3)))
    )
    stripes = speckle = None
    if rng.random() < 0.2:
        period = float(np.exp(rng.uniform(np.log(3), np.log(24))))
        stripes = (period, float(rng.uniform(0, np.pi)), float(strength * rng.uniform(0.5, 1.5)))
    if rng.random() < 0.25:
        sign = rng.choice([-1.0, 1.0])
        speckle = (
            float(rng.uniform(2, 8)),
            float(rng.uniform(0.03, 0.25)),
            float(sign * strength * rng.uniform(1, 3)),
        )
    slope = float(rng.normal(0, strength)) if rng.random() < 0.4 else 0.0
    tint = rng.uniform(0.6, 1.2, colour.shape).astype(np.float32)
    return Texture(colour.astype(np.float32), noise, stripes, speckle, slope, tint)


def paint(rng: np.random.Generator, texture: Texture, shape: tuple[int, int]) -> Field:
    """The surface drawn over a crop: (rows, cols, C) float32."""
    rows, cols = np.ogrid[: shape[0], : shape[1]]
    pattern = np.zeros(shape, np.float32)
    for period, amplitude in texture.noise:
        pattern += np.float32(amplitude) * smooth(rng, shape, period)
    if texture.stripes is not None:
        period, angle, amplitude = texture.stripes
        phase = (rows * np.sin(angle) + cols * np.cos(angle)) * (2 * np.pi / period)
        bend = smooth(rng, shape, 40) * 0.8
        pattern += (amplitude * np.sin(phase.astype(np.float32) + bend)).astype(np.float32)
    if texture.speckle is not None:
        period, share, amplitude = texture.speckle
        spots = smooth(rng, shape, period)
        pattern += np.float32(amplitude) * (spots > np.quantile(spots[::3, ::3], 1 - share))
    if texture.slope:
        angle = rng.uniform(0, 2 * np.pi)
        ramp = (rows / shape[0] - 0.5) * np.sin(angle) + (cols / shape[1] - 0.5) * np.cos(angle)
        pattern += (texture.slope * ramp).astype(np.float32)
    return np.asarray(texture.colour + pattern[..., None] * texture.tint, np.float32)
