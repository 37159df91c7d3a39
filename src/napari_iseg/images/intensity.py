"""Intensities of any dtype to [0, 1], by one stretch that is fixed for a whole image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

PERCENTILES = (0.1, 99.9)
_LARGEST = float(np.finfo(np.float64).max) / 2  # keeps high - low finite


@dataclass(frozen=True, slots=True)
class Stretch:
    """The values that become 0 and 1, one pair per band.

    Attributes
    ----------
    low, high : (bands,) float64
    """

    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]

    def __call__(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Values (rows, cols, bands) of any real dtype as float32 in [0, 1].

        NaN and infinities become 0, the low end.
        """
        if values.dtype in (np.uint8, np.bool_):
            scaled: npt.NDArray[np.float32] = np.divide(values, np.float32(self.high[0]), dtype=np.float32)
            return scaled
        # float32 cannot tell neighbouring values apart that are small beside their offset
        wide: npt.NDArray[np.float64] = values.astype(np.float64)
        if values.dtype.kind == "f":
            wide[~np.isfinite(wide)] = -np.inf
        np.clip(wide, self.low, self.high, out=wide)
        wide -= self.low
        wide /= self.high - self.low
        return np.asarray(wide, np.float32)


def stretch_for(dtype: np.dtype[Any], sample: npt.NDArray[Any] | None, *, joint: bool, bands: int) -> Stretch:
    """The stretch of an image.

    Parameters
    ----------
    dtype : of the image; uint8 is divided by 255 and bool by 1, without a look at the values
    sample : (N, bands) values of the image, or None where ``needs_sample`` says so
    joint : one stretch for all bands (colour pictures, whose hue must stay)
    """
    if sample is None:
        return Stretch(np.zeros(bands), np.full(bands, 1.0 if dtype == np.bool_ else 255.0))
    pairs = [_ends(sample)] * bands if joint else [_ends(sample[:, band]) for band in range(bands)]
    return Stretch(np.array([low for low, _ in pairs]), np.array([high for _, high in pairs]))


def needs_sample(dtype: np.dtype[Any]) -> bool:
    """Whether the stretch of this dtype depends on the values."""
    return dtype not in (np.uint8, np.bool_)


def _ends(values: npt.NDArray[Any]) -> tuple[float, float]:
    """Percentiles of the finite values, or their extremes where all but a few values are equal.

    Equal values become 0. Their range is then a guess (255 steps of an integer, 1.0 of a float), as an
    image whose sample is empty sky may still hold something elsewhere.
    """
    wide = values.astype(np.float64)
    wide = np.clip(wide[np.isfinite(wide)], -_LARGEST, _LARGEST)
    if wide.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(wide, PERCENTILES)
    if low == high:
        low, high = wide.min(), wide.max()
    if low == high:
        guess = 1.0 if values.dtype.kind == "f" else 255.0
        high = max(low + guess, np.nextafter(low, np.inf))
    return float(low), float(high)
