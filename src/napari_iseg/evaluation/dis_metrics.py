"""Metrics of fine masks as DIS papers report them: the standard definitions, not the toolbox's variants.

All compare one true mask with one predicted map of the same size; see `dis_scores` for all at once. It,
`mask_iou` and `boundary_iou` take what `grey_levels` reads, the others a map in [0, 1] and a bool mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_iseg.evaluation.grey_levels import levels_and_mask
from napari_iseg.evaluation.hce import human_correction_efforts

Mask = npt.NDArray[np.bool_]
Map = npt.NDArray[np.float64]
LEVELS: Final = 256
BETA2: Final = 0.3  # of the F-measure of salient object detection
_TINY: Final = float(np.finfo(np.float64).eps)
_DIAGONAL_SHARE: Final = 0.02  # width of the band of boundary IoU


@dataclass(frozen=True, slots=True)
class DisScores:
    """One picture's scores; ``f_curve`` and ``e_curve`` are over 256 thresholds, (256,) float64."""

    f_curve: npt.NDArray[np.float64]
    e_curve: npt.NDArray[np.float64]
    weighted_f: float
    mae: float
    s_measure: float
    iou: float
    boundary_iou: float
    hce: float


def dis_scores(prediction: npt.NDArray[Any], truth: npt.NDArray[Any], *, with_hce: bool = True) -> DisScores:
    """All scores of one picture.

    Parameters
    ----------
    prediction : (H, W) bool, float or int
        A mask, a probability in [0, 1], or whole grey levels 0..255.
    truth : (H, W) bool, float or int
        The same; what is above level 128 is the object.
    with_hce
        False leaves out HCE, which takes longest; it is NaN then.

    Raises
    ------
    InputError
        For arrays of other or different shapes, and for values that are none of these.
    """
    levels, mask = levels_and_mask(prediction, truth)
    stretched, found = _stretched(levels / 255), _found(levels)
    return DisScores(
        f_curve(stretched, mask),
        e_curve(stretched, mask),
        weighted_f(stretched, mask),
        float(np.abs(stretched - mask).mean()),
        s_measure(stretched, mask),
        _iou(found, mask),
        _boundary_iou(found, mask),
        human_correction_efforts(levels > 128, mask).total if with_hce else float("nan"),
    )


def f_curve(prediction: Map, truth: Mask) -> npt.NDArray[np.float64]:
    """F-measure (beta^2 = 0.3) at each of 256 grey levels of a map in [0, 1], from 0 on, (256,)."""
    inside, outside = (_counts_from(prediction[part]) for part in (truth, ~truth))
    taken = inside + outside
    precision = inside / np.maximum(taken, 1)
    recall = inside / max(1, int(truth.sum()))
    below = BETA2 * precision + recall
    return np.asarray((1 + BETA2) * precision * recall / np.where(below == 0, 1, below), np.float64)


def e_curve(prediction: Map, truth: Mask) -> npt.NDArray[np.float64]:
    """Enhanced-alignment measure (Fan et al. 2018) at each of 256 grey levels, (256,)."""
    pixels, positives = truth.size, int(truth.sum())
    inside, outside = (_counts_from(prediction[part]) for part in (truth, ~truth))
    taken = inside + outside
    total = np.zeros(LEVELS)
    if positives == 0:
        total += pixels - taken
    elif positives == pixels:
        total += taken
    else:
        parts = (
            (inside, 1.0, 1.0),
            (outside, 1.0, 0.0),
            (positives - inside, 0.0, 1.0),
            (pixels - positives - outside, 0.0, 0.0),
        )
        mean, true_mean = taken / pixels, positives / pixels
        for count, value, true_value in parts:  # all pixels of a part have the same alignment
            u, v = value - mean, true_value - true_mean
            alignment = 2 * u * v / (u * u + v * v + _TINY)
            total = total + count * (alignment + 1) ** 2 / 4
    return np.asarray(total / (pixels - 1 + _TINY), np.float64)


def weighted_f(prediction: Map, truth: Mask) -> float:
    """Weighted F-measure (Margolin et al. 2014), beta^2 = 1; 0 for an empty truth."""
    if not truth.any():
        return 0.0
    distance, nearest = ndimage.distance_transform_edt(~truth, return_indices=True)
    error = np.abs(prediction - truth)
    carried = error.copy()
    carried[~truth] = error[nearest[0], nearest[1]][~truth]
    smooth = ndimage.correlate(carried, _gaussian(7, 5.0), mode="constant", cval=0)
    least = np.where(truth & (smooth < error), smooth, error)
    weight = np.where(truth, 1.0, 2 - np.exp(np.log(0.5) / 5 * distance))
    weighed = least * weight
    hits = truth.sum() - weighed[truth].sum()
    false = weighed[~truth].sum()
    recall = 1 - weighed[truth].mean()
    precision = hits / (hits + false + _TINY)
    return float(2 * recall * precision / (recall + precision + _TINY))


def s_measure(prediction: Map, truth: Mask) -> float:
    """Structure measure (Fan et al. 2017): half object, half region similarity."""
    share = float(truth.mean())
    if share == 0:
        return float(1 - prediction.mean())
    if share == 1:
        return float(prediction.mean())
    objects = share * _object_score(prediction[truth])
    objects += (1 - share) * _object_score(1 - prediction[~truth])
    return max(0.0, 0.5 * objects + 0.5 * _region_score(prediction, truth))


def mask_iou(prediction: npt.NDArray[Any], truth: npt.NDArray[Any]) -> float:
    """IoU of two masks; 1 for two empty ones. Takes and refuses what `dis_scores` does."""
    levels, mask = levels_and_mask(prediction, truth)
    return _iou(_found(levels), mask)


def boundary_iou(prediction: npt.NDArray[Any], truth: npt.NDArray[Any]) -> float:
    """IoU of the inner bands of both masks, 2 % of the picture's diagonal wide (Cheng et al. 2021).

    Takes and refuses what `dis_scores` does.
    """
    levels, mask = levels_and_mask(prediction, truth)
    return _boundary_iou(_found(levels), mask)


def inner_band(mask: Mask, width: int) -> Mask:
    """The pixels of a mask within ``width`` 3 x 3 erosions of its border; the picture's border counts."""
    kept = ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=width, border_value=0)
    return np.asarray(mask & ~kept)


def _found(levels: npt.NDArray[np.uint8]) -> Mask:
    return np.asarray(levels >= 128)


def _boundary_iou(prediction: Mask, truth: Mask) -> float:
    width = max(1, round(_DIAGONAL_SHARE * float(np.hypot(*truth.shape))))
    return _iou(inner_band(prediction, width), inner_band(truth, width))


def _iou(prediction: Mask, truth: Mask) -> float:
    either = int((prediction | truth).sum())
    return float((prediction & truth).sum() / either) if either else 1.0


def _stretched(map_: Map) -> Map:
    low, high = map_.min(), map_.max()
    return map_ if high == low else np.asarray((map_ - low) / (high - low), np.float64)


def _counts_from(values: Map) -> npt.NDArray[np.int64]:
    """How many values reach each grey level, (256,)."""
    histogram = np.bincount((values * 255).astype(np.uint8), minlength=LEVELS)
    return np.asarray(np.cumsum(histogram[::-1])[::-1], np.int64)


def _gaussian(side: int, sigma: float) -> Map:
    steps = np.arange(side) - side // 2
    bell = np.exp(-(steps[:, None] ** 2 + steps[None] ** 2) / (2 * sigma * sigma))
    return np.asarray(bell / bell.sum(), np.float64)


def _object_score(values: Map) -> float:
    mean = float(values.mean())
    return 2 * mean / (mean * mean + 1 + float(values.std()) + _TINY)


def _region_score(prediction: Map, truth: Mask) -> float:
    """Similarity of the four parts around the truth's centroid, weighted by their area."""
    rows, cols = np.nonzero(truth)
    row, col = round(float(rows.mean())) + 1, round(float(cols.mean())) + 1
    score = 0.0
    for vertical in (slice(None, row), slice(row, None)):
        for horizontal in (slice(None, col), slice(col, None)):
            part, true_part = prediction[vertical, horizontal], truth[vertical, horizontal]
            if part.size:
                score += part.size / truth.size * _similarity(part, true_part.astype(np.float64))
    return score


def _similarity(x: Map, y: Map) -> float:
    """Structural similarity of two parts without its constants; 1 where the fraction is 0 / 0."""
    count = x.size
    mean_x, mean_y = float(x.mean()), float(y.mean())
    below = max(count - 1, 1)
    var_x, var_y = float(((x - mean_x) ** 2).sum() / below), float(((y - mean_y) ** 2).sum() / below)
    covariance = float(((x - mean_x) * (y - mean_y)).sum() / below)
    above = 4 * mean_x * mean_y * covariance
    beneath = (mean_x**2 + mean_y**2) * (var_x + var_y)
    if above != 0:
        return above / (beneath + _TINY)
    return 1.0 if beneath == 0 else 0.0
