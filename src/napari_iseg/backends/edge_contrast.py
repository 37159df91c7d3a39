"""A window in the colours that tell the inside of its coarse mask from the outside. Ours, not published.

A published IS5Net has seen enough pictures to know outlines in any colours. A small one that was trained for
an hour has not: it gets the question made simpler. A linear rule over colours and their surroundings is
fitted to the coarse mask, in closed form; most of the mask is right, so the rule knows how the object looks,
and its answer is bright where the object is, whatever the picture's own colours are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

Float = npt.NDArray[np.float32]
_LEAST = 12  # pixels on either side of the mask; with fewer there is nothing to fit
_REACH = 0.15  # of the window's side: background farther from the mask hardly counts
_RIDGE = 0.02
_LEAST_REACH, _WIDTHS = 8.0, 2.0  # pixels, and stroke widths, that an outline may move outwards
_MOST = 40_000  # pixels that a rule is fitted to


def contrasted(image: Float, mask: Float) -> Float:
    """The window as three maps: the rule on colours, the rule on colours and surroundings, and brightness.

    Parameters
    ----------
    image : (H, W, 3) float32 in [0, 1]
    mask : (H, W) float32, 1 inside the coarse mask, 0 outside

    Returns
    -------
    (H, W, 3) float32 in [0, 1]. The rules are about 0.75 inside and 0.25 outside. Without a mask, or without
    anything outside it, all three are the brightness.
    """
    grey = _stretched(image.mean(2))
    inside = mask > 0.5
    if min(np.count_nonzero(inside), np.count_nonzero(~inside)) < _LEAST:
        return np.repeat(grey[..., None], 3, 2)
    sides = _sides(inside)
    colours = _answer(image, inside, sides)
    return np.stack([colours, _answer(_surroundings(image, inside), inside, sides), grey], 2)


def believed(probability: Float, inside: npt.NDArray[np.bool_], threshold: float) -> Float:
    """The network's answer (H, W) without what lies apart from the coarse mask ``inside``, which becomes 0.

    Away from the mask nothing was fitted, and a small network takes all sorts of things for the object. What
    is left touches the mask and lies within some widths of its strokes.
    """
    if not inside.any():
        return np.zeros_like(probability)
    near = ndi.distance_transform_edt(~inside) <= max(_LEAST_REACH, _WIDTHS * stroke(inside))
    found, count = ndi.label((probability > threshold) & near, np.ones((3, 3)))
    touching = np.zeros(count + 1, np.bool_)
    touching[np.unique(found[inside])] = True
    kept = near & (touching[found] | (found == 0))
    return np.where(kept, probability, 0).astype(np.float32)


def stroke(inside: npt.NDArray[np.bool_]) -> float:
    """Width of a mask's strokes in pixels: twice area over length of the outline; 0 of an empty one."""
    rim = inside & ~ndi.binary_erosion(inside, border_value=1)
    return 2.0 * float(inside.sum()) / max(1.0, float(rim.sum()))


def _sides(inside: npt.NDArray[np.bool_]) -> Float:
    """How much each pixel counts (H, W): near the outline a coarse mask is least sure; both sides count 1."""
    reach = max(2, round(_REACH * max(inside.shape)))
    share = ndi.uniform_filter(inside.astype(np.float32), max(3, reach // 3))
    deep = np.where(inside, share, (1 - share) * (ndi.uniform_filter(share, 2 * reach) > 1e-4)) + 1e-3
    weights: Float = np.where(inside, deep / deep[inside].sum(), deep / deep[~inside].sum())
    return weights.astype(np.float32)


def _surroundings(image: Float, inside: npt.NDArray[np.bool_]) -> Float:
    """Colours, how far they are from the object's, and mean and spread of what is around: (H, W, 11)."""
    scale = max(image.shape[:2]) / 256
    near = ndi.gaussian_filter(image, (1.2 * scale, 1.2 * scale, 0))
    grey = image.mean(2)
    wide = ndi.gaussian_filter(grey, 4 * scale)
    spread = np.sqrt(ndi.gaussian_filter((grey - wide) ** 2, 3 * scale) + 1e-6)
    far = (near - np.median(near[inside], 0)) ** 2
    return np.concatenate([image, near, far, wide[..., None], spread[..., None]], 2)


def _answer(features: Float, inside: npt.NDArray[np.bool_], weights: Float) -> Float:
    """A weighted ridge rule (H, W) in [0, 1], fitted twice: the second time to what agrees with the first."""
    step = max(1, int(np.ceil(np.sqrt(inside.size / _MOST))))
    some = np.s_[::step, ::step]
    flat = features.reshape(-1, features.shape[2]).astype(np.float64)
    rows = features[some].reshape(-1, features.shape[2]).astype(np.float64)
    side = np.where(inside[some].ravel(), 1.0, -1.0)
    share = weights[some].ravel().astype(np.float64)
    middle, scale = rows.mean(0), rows.std(0) + 1e-3
    rows = np.column_stack([(rows - middle) / scale, np.ones(len(rows))])
    rule = _ridge(rows, side, share)
    agreed = share / (1 + np.exp(-4 * side * (rows @ rule)))
    rule = _ridge(rows, side, agreed)
    found = ((flat - middle) / scale) @ rule[:-1] + rule[-1]
    answer: Float = np.clip(0.5 + 0.25 * found, 0, 1).astype(np.float32).reshape(inside.shape)
    return answer


def _ridge(
    rows: npt.NDArray[np.float64], side: npt.NDArray[np.float64], share: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Weights of a linear rule; the penalty is in units of the features' variance."""
    known = rows * share[:, None]
    penalty = _RIDGE * share.sum() * np.eye(rows.shape[1])
    penalty[-1, -1] = 0
    return np.linalg.solve(known.T @ rows + penalty, known.T @ side)


def _stretched(grey: Float) -> Float:
    low, high = np.percentile(grey, (1, 99))
    return np.asarray(np.clip((grey - low) / max(float(high - low), 1e-3), 0, 1), np.float32)
