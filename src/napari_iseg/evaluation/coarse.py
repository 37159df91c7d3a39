"""Coarse masks made from true ones: what a first stage (a SAM, a click model, a person) gets wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from napari_iseg.evaluation.opencv import opencv

Mask = npt.NDArray[np.bool_]
EXACT = 0.05  # share of masks left as they are: the network must leave what is right alone
_WIDTHS = 6.0  # a disk's extent is two of its stroke widths
WORST_IOU = 0.35  # IoU below which a mask no longer tells which object is meant


def degraded(truth: Mask, rng: np.random.Generator, strength: float = 1.0) -> Mask:
    """A coarse version of a mask: thin parts lost or filled, the outline moved, bites and leaks.

    How far things are moved is in units of the object's extent; of thin objects, which such a move would wipe
    out, in units of some widths of their strokes.

    Parameters
    ----------
    truth : (H, W) bool, not empty
    strength : factor on how far everything is moved

    Returns
    -------
    (H, W) bool, not empty; its IoU with the truth is at least 0.35, or it is the truth
    """
    if rng.random() < EXACT:
        return truth.copy()
    extent = max(8.0, min(_extent(truth), _WIDTHS * stroke_width(truth)))
    for share in (1.0, 0.6, 0.3):
        mask = truth.copy()
        for step in rng.permutation(np.array(_STEPS, object))[: int(rng.integers(1, 4))]:
            mask = step(mask, extent * strength * share, rng)
        common, either = np.count_nonzero(mask & truth), np.count_nonzero(mask | truth)
        if common >= WORST_IOU * either:
            return mask
    return truth.copy()


def stroke_width(mask: Mask) -> float:
    """Twice the area over the length of the outline: a stroke's width in pixels, half a disk's diameter."""
    cv2 = opencv()
    padded = np.pad(mask.astype(np.uint8), 1)
    outlines, _ = cv2.findContours(padded, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    length = sum(len(outline) for outline in outlines)  # pixels, as the area is in pixels
    return 2.0 * np.count_nonzero(mask) / max(1, length)


def _extent(mask: Mask) -> float:
    return float(np.sqrt(np.count_nonzero(mask.any(1)) * np.count_nonzero(mask.any(0))))


def _smooth(rng: np.random.Generator, shape: tuple[int, int], period: float) -> npt.NDArray[np.float32]:
    """Noise of unit deviation whose bumps are about ``period`` pixels wide."""
    knots = rng.standard_normal([max(4, int(side / period) + 2) for side in shape]).astype(np.float32)
    cv2 = opencv()
    field: npt.NDArray[np.float32] = cv2.resize(knots, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return field


def _coarse_grid(mask: Mask, extent: float, rng: np.random.Generator) -> Mask:
    """As seen on a grid of large pixels and enlarged again: the look of a small decoder."""
    cv2 = opencv()
    cell = float(np.exp(rng.uniform(np.log(2), np.log(max(2.5, extent / 10)))))
    size = [max(2, round(side / cell)) for side in mask.shape]
    small = cv2.resize(mask.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_AREA)
    large = cv2.resize(small, mask.shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(large > rng.uniform(0.25, 0.6), np.bool_)


def _rounded(mask: Mask, extent: float, rng: np.random.Generator) -> Mask:
    """Opened, closed or both with a disk: hairs and gaps go."""
    cv2 = opencv()
    radius = max(1, round(extent * rng.uniform(0.01, 0.06)))
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    pixels: npt.NDArray[Any] = mask.astype(np.uint8)
    kinds: tuple[tuple[int, ...], ...] = (
        (cv2.MORPH_OPEN,),
        (cv2.MORPH_CLOSE,),
        (cv2.MORPH_CLOSE, cv2.MORPH_OPEN),
    )
    for kind in kinds[int(rng.integers(3))]:
        pixels = cv2.morphologyEx(pixels, kind, disk)
    return np.asarray(pixels, np.bool_)


def _resized_outline(mask: Mask, extent: float, rng: np.random.Generator) -> Mask:
    """Too wide or too narrow everywhere."""
    cv2 = opencv()
    radius = max(1, round(extent * rng.uniform(0.005, 0.03)))
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    kind = cv2.MORPH_DILATE if rng.random() < 0.6 else cv2.MORPH_ERODE
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), kind, disk), np.bool_)


def _bent(mask: Mask, extent: float, rng: np.random.Generator) -> Mask:
    """The outline moved by a smooth displacement: a hand that was not quite steady."""
    cv2 = opencv()
    amount = extent * rng.uniform(0.005, 0.025)
    shape = (mask.shape[0], mask.shape[1])
    rows, cols = np.indices(shape, np.float32)
    period = max(4.0, extent * rng.uniform(0.08, 0.4))
    moved = [axis + _smooth(rng, shape, period) * np.float32(amount) for axis in (rows, cols)]
    found = cv2.remap(mask.astype(np.float32), moved[1], moved[0], cv2.INTER_LINEAR)
    return np.asarray(found > 0.5, np.bool_)


def _bitten(mask: Mask, extent: float, rng: np.random.Generator) -> Mask:
    """A few round bites and leaks along the outline."""
    cv2 = opencv()
    outline = mask ^ cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    rows, cols = np.nonzero(outline)
    pixels = mask.astype(np.uint8)
    if not len(rows):
        return mask
    for _ in range(int(rng.integers(1, 5))):
        pick = int(rng.integers(len(rows)))
        radius = max(1, round(extent * rng.uniform(0.02, 0.1)))
        cv2.circle(pixels, (int(cols[pick]), int(rows[pick])), radius, int(rng.random() < 0.5), -1)
    return np.asarray(pixels, np.bool_)


_STEPS = (_coarse_grid, _coarse_grid, _rounded, _resized_outline, _bent, _bitten)
