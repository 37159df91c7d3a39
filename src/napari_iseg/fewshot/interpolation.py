"""Shape-based interpolation of masks between annotated slices, by signed distances (Raya & Udupa 1990)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from napari_iseg.fewshot.base import Position

Mask = npt.NDArray[np.bool_]
Field = npt.NDArray[np.float32]
_SOFTNESS = 2.0  # pixels over which a probability falls at the interpolated outline


def signed_distance(mask: Mask) -> Field:
    """Distance to the outline in pixels, positive inside: (H, W) float32; -inf everywhere without a pixel."""
    if not mask.any():
        return np.full(mask.shape, -np.inf, np.float32)
    inside = ndi.distance_transform_edt(np.pad(mask, 1, mode="edge"))[1:-1, 1:-1]
    if mask.all():
        return np.full(mask.shape, float(max(mask.shape)), np.float32)
    outside = ndi.distance_transform_edt(~mask)
    distance: Field = np.where(mask, inside - 0.5, 0.5 - outside).astype(np.float32)
    return distance


def blend(near: Field, far: Field, share: float) -> Field:
    """``(1 - share) * near + share * far`` of two signed distances.

    An object that only one of them has shrinks to nothing half way: the empty one counts as minus the
    largest depth of the other.
    """
    if not np.isfinite(near).any() and not np.isfinite(far).any():
        return near
    if not np.isfinite(near).any():
        near = np.full_like(near, -max(float(far.max()), 0.5))
    if not np.isfinite(far).any():
        far = np.full_like(far, -max(float(near.max()), 0.5))
    mixed: Field = ((1 - share) * near + share * far).astype(np.float32)
    return mixed


def neighbours(places: Sequence[float], place: float) -> tuple[int, int, float]:
    """Indices of the nearest places on either side of ``place``, and its share of the way between them.

    Beyond the ends, and right on a place, both are the nearest one and the share is 0.
    """
    values = np.asarray(places, float)
    nearest = int(np.argmin(np.abs(values - place)))
    below, above = np.flatnonzero(values <= place), np.flatnonzero(values >= place)
    if not len(below) or not len(above) or values[nearest] == place:
        return nearest, nearest, 0.0
    low = int(below[np.argmax(values[below])])
    high = int(above[np.argmin(values[above])])
    return low, high, float((place - values[low]) / (values[high] - values[low]))


def interpolated(masks: Sequence[Mask], places: Sequence[float], place: float) -> Field:
    """Signed distance (H, W) at ``place``, from the masks of the nearest places on either side."""
    low, high, share = neighbours(places, place)
    return blend(signed_distance(masks[low]), signed_distance(masks[high]), share)


def as_probability(distance: Field) -> Field:
    """0.5 on the outline, logistic over a few pixels."""
    exponent = np.clip(-distance / _SOFTNESS, -30, 30)
    probability: Field = (1 / (1 + np.exp(exponent))).astype(np.float32)
    return probability


def along_axis(positions: Sequence[Position], position: Position) -> tuple[list[float], float]:
    """The coordinate along which the supports lie, theirs and the unit's; zeros without positions.

    It is the one that spreads most over supports and unit: the slicing axis, unless tiles have one too.
    """
    if not position or any(not p for p in positions):
        return [0.0] * len(positions), 0.0
    everything = np.asarray([*positions, position], float)
    axis = int(np.argmax(np.ptp(everything, axis=0)))
    return [float(p[axis]) for p in positions], float(position[axis])
