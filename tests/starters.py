"""Every starter and method that comes with the package, asked all that it answers, on one made picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import napari_iseg as iseg
from napari_iseg.fewshot.models import load_fewshot

ROWS, COLS = np.mgrid[:64, :64]
MASK = (ROWS - 30) ** 2 + (COLS - 32) ** 2 < 16**2
IMAGE = np.random.default_rng(0).uniform(0.2, 0.3, (64, 64, 3)).astype(np.float32)
IMAGE[MASK] += 0.4


def clicked(model: Any) -> list[np.ndarray]:
    """The probability after a click on the object and after one beside it."""
    session = iseg.Session(IMAGE, model)
    session.click((30, 30))
    first = session.probability
    session.click((2, 60), positive=False)
    return [first, session.probability]


def boxed(model: Any) -> list[np.ndarray]:
    """The probability after a click, and with a box too."""
    session = iseg.Session(IMAGE, model)
    session.click((30, 30))
    first = session.probability
    session.box((14, 14, 50, 50))
    return [first, session.probability]


def refined(model: Any) -> list[np.ndarray]:
    """The mask refined."""
    return [model.probability(IMAGE, MASK)]


def few_shot(model: Any) -> iseg.FewShot:
    """With a painted and a clicked support."""
    few = iseg.FewShot(model)
    few.add_support(IMAGE, mask=MASK.astype(np.int32))
    few.add_support(IMAGE[::-1], clicks=[(33, 30, True), (2, 60, False)])
    return few


def segmented(model: Any) -> list[np.ndarray]:
    """The answer of `few_shot` to a third picture."""
    return [few_shot(model).segment(IMAGE[:, ::-1]).probability]


STARTERS: dict[str, tuple[Callable[[str], Any], Callable[[Any], list[np.ndarray]]]] = {
    "cfr-icl-starter": (iseg.load_model, clicked),  # with the one for thin structures
    "mst-starter": (iseg.load_model, clicked),
    "adaptiveclick-starter": (iseg.load_model, clicked),
    "sam-starter": (iseg.load_model, boxed),
    "is5net-starter": (iseg.load_model, refined),
    "ifsenet-starter": (load_fewshot, segmented),
    "training-free": (load_fewshot, segmented),
}
