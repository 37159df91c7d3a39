"""SUEM: simulated user edit modes, three compositing stages that make samples an editing user would meet.

The CFR-ICL paper describes four modes; the published code, followed here, has two copy-paste stages and a
mixing stage, each with probability one half and independent of the others, so that all may apply to one
sample.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Extra = Callable[[], tuple[Image, Mask]]

_STAGE = 0.5  # probability of each stage
_TRIES = 5  # pictures tried for the second stage
_MIN_LEFT = 20  # pixels of the object that must stay more than visible


class Draws(Protocol):
    """Where chance comes from; a ``numpy.random.Generator`` is one."""

    def random(self) -> float:
        """Uniform in [0, 1)."""

    def integers(self, high: int, /) -> int:
        """Uniform whole number in 0..high-1."""


def suem(image: Image, target: Mask, extra: Extra, draws: Draws) -> tuple[Image, Mask]:
    """One sample after the three stages; the inputs are not changed.

    Parameters
    ----------
    image : (H, W, 3) uint8
    target : (H, W) bool, the object to be segmented
    extra : gives another augmented picture (H, W, 3) uint8 and one object of it (H, W) bool; called for every
        stage that runs
    draws : draws per stage, in this order: whether it runs, (second stage: which mode), the blending weight

    Returns
    -------
    image (H, W, 3) uint8 and target (H, W) bool
    """
    if draws.random() < _STAGE:
        image = _transplant(image, target, extra()[0], _weight(draws))
    if draws.random() < _STAGE:
        image, target = _edit(image, target, extra, draws)
    if draws.random() < _STAGE:
        image = blend(image, extra()[0], _weight(draws))
    return image, target


def blend(image: Image, other: Image, weight: float) -> Image:
    """``weight * image + (1 - weight) * other`` in uint8, rounded."""
    return np.asarray(cv2.addWeighted(image, weight, other, 1 - weight, 0), np.uint8)


def _weight(draws: Draws) -> float:
    return 0.5 + draws.random() / 2


def _transplant(image: Image, target: Mask, other: Image, weight: float) -> Image:
    """The object, slightly see-through, on another picture."""
    return np.where(target[..., None], blend(image, other, weight), other)


def _edit(image: Image, target: Mask, extra: Extra, draws: Draws) -> tuple[Image, Mask]:
    """Exclusion, union or blend with another picture's object, once one leaves enough of ours visible."""
    for _ in range(_TRIES):
        other, pasted = extra()
        if np.count_nonzero(target & ~pasted) > _MIN_LEFT:
            break
    else:
        return image, target
    mode = int(draws.integers(3))
    over = pasted[..., None]
    if mode == 2:
        return np.where(over, blend(image, other, _weight(draws)), image), target
    return np.where(over, other, image), target & ~pasted if mode == 0 else target | pasted
