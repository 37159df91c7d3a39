"""Thin structures: combs, nets and hairs with true masks, and how much of them a mask has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Mask = npt.NDArray[np.bool_]
_THIN = 5  # pixels: what an opening of that side takes away is thin
_NEAR = 2  # pixels around thin parts that count with them


def comb(side: int) -> Mask:
    """A bar with teeth of two pixels in a picture of ``side`` x ``side``."""
    truth = np.zeros((side, side), np.bool_)
    truth[side // 4 : side // 3, side // 6 : -side // 6] = True
    for first in (0, 1):
        truth[side // 4 : -side // 5, side // 6 + first : -side // 6 : 9] = True
    return truth


def net(side: int) -> Mask:
    """Meshes of twelve pixels with threads of two."""
    truth = np.zeros((side, side), np.bool_)
    inner = slice(side // 6, -side // 6)
    for first in (0, 1):
        truth[side // 6 + first : -side // 6 : 12, inner] = True
        truth[inner, side // 6 + first : -side // 6 : 12] = True
    return truth


def hairs(side: int) -> Mask:
    """A disk with fourteen hairs of two to three pixels in all directions."""
    rows, cols = np.ogrid[:side, :side]
    down, right = rows - side / 2, cols - side / 2
    away = down**2 + right**2
    truth = np.asarray(away < (side / 10) ** 2)
    for angle in np.linspace(0, np.pi, 7, endpoint=False):
        beside = np.abs(down * np.cos(angle) - right * np.sin(angle))
        truth |= (beside < 1.2) & (away < (side / 2.8) ** 2)
    return truth


SHAPES: Final[Mapping[str, Callable[[int], Mask]]] = MappingProxyType(
    {"comb": comb, "net": net, "hairs": hairs}
)


def blob(truth: Mask) -> Mask:
    """The truth as a coarse model sees thin structures: gaps filled, hairs lost."""
    return np.asarray(ndimage.binary_opening(ndimage.binary_closing(truth, iterations=6), iterations=3))


def picture(truth: Mask, contrast: float = 0.35, seed: int = 0) -> npt.NDArray[np.float32]:
    """(H, W, 3) in [0, 1]: an object in one colour on an uneven, noisy ground of another."""
    rng = np.random.default_rng(seed)
    ground = ndimage.zoom(rng.uniform(0.2, 0.4, (4, 4, 3)), [n / 4 for n in truth.shape] + [1], order=1)
    shift = contrast * np.array([1.0, 0.8, 0.5])
    made = ground[: truth.shape[0], : truth.shape[1]] + truth[..., None] * shift
    noisy: npt.NDArray[np.float32] = (made + rng.normal(0, 0.03, made.shape)).astype(np.float32)
    return noisy.clip(0, 1)


def thin_iou(mask: Mask, truth: Mask) -> float:
    """IoU over the thin parts of the truth and their surroundings; 1 where it has none."""
    thin = truth & ~ndimage.binary_opening(truth, np.ones((_THIN, _THIN)))
    near = ndimage.binary_dilation(thin, iterations=_NEAR)
    either = np.count_nonzero((mask | truth) & near)
    return np.count_nonzero(mask & truth & near) / either if either else 1.0
