"""How long a model takes on this machine for what a person waits for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError
from napari_iseg.fewshot.base import UNKNOWN, FewShotModel, Support
from napari_iseg.images import PlaneSource
from napari_iseg.interactive.predictor import Predictor
from napari_iseg.prompts import Click

if TYPE_CHECKING:
    from napari_iseg.backends.edge_model import EdgeModel
    from napari_iseg.backends.model import Model

T = TypeVar("T")
Seconds = dict[str, float]
_LATER = 4  # clicks after the first one


def click_speed(model: Model, side: int = 512, repeats: int = 3) -> Seconds:
    """Median seconds of "first click" and "later click" on new pictures of ``side`` x ``side`` pixels.

    One click is made before, unmeasured: a network prepares itself for a size once.

    Raises
    ------
    InputError
        For a side under 32 pixels or no repeats.
    """
    _check(side, repeats)
    first, later = [], []
    for repeat in range(repeats + 1):
        predictor = Predictor(PlaneSource.wrap(made_picture(side, repeat), rgb=True), model)
        state, seconds = _timed(lambda p=predictor: p.step(None, Click(side / 2, side / 2)))  # type: ignore[misc]
        following = []
        for index in range(_LATER):
            place = side * (index + 1) / (_LATER + 2)
            click = Click(place, side - place, positive=bool(index % 2))
            state, spent = _timed(lambda p=predictor, s=state, c=click: p.step(s, c))  # type: ignore[misc]
            following.append(spent)
        if repeat:
            first.append(seconds)
            later += following
    return {"first click": median(first), "later click": median(later)}


def fewshot_speed(model: FewShotModel, side: int = 512, repeats: int = 3) -> Seconds:
    """Median seconds of "support click" (features known), "new tile" and "known tile" (features known).

    One support with three clicks; tiles are ``side`` x ``side`` pixels. The first round is not counted.

    Raises
    ------
    InputError
        For a side under 32 pixels or no repeats.
    """
    _check(side, repeats)
    middle, clicks = side / 2, list[tuple[int, Click]]()
    for distance, positive in ((0.0, True), (side / 4, False), (4.0, True)):
        clicks.append((1, Click(middle + distance, middle, positive)))
    unknown = np.full((side, side), UNKNOWN, np.int32)
    support = Support("clicked", made_picture(side, 0), unknown, tuple(clicks))
    known = model.encode(support.image)
    clicked, new, again = [], [], []
    for repeat in range(repeats + 1):
        # One click more than before: what was answered already may be remembered, a new click is not.
        clicks.append((1, Click(middle + 4.0, middle + repeat, True)))
        support = replace(support, clicks=tuple(clicks), version=repeat)
        _, spent = _timed(lambda now=support: model.segment_support(now, known, [1]))  # type: ignore[misc]
        embedding = model.embed(support, known, [1])
        tile = made_picture(side, repeat + 1)
        features, encoding = _timed(lambda image=tile: model.encode(image))  # type: ignore[misc]
        _, asking = _timed(lambda f=features, e=embedding: model.predict([f], [()], [e], [1]))  # type: ignore[misc]
        if repeat:
            clicked.append(spent)
            new.append(encoding + asking)
            again.append(asking)
    return {"support click": median(clicked), "new tile": median(new), "known tile": median(again)}


def edge_speed(model: EdgeModel, side: int = 512, repeats: int = 3) -> Seconds:
    """Median seconds of "refined window": the edges of a mask in a window of ``side`` x ``side`` pixels.

    Raises
    ------
    InputError
        For a side under 32 pixels or no repeats.
    """
    _check(side, repeats)
    mask = np.zeros((side, side), bool)
    mask[side // 4 : -side // 4, side // 4 : -side // 4] = True
    spent = [
        _timed(lambda r=repeat: model.probability(made_picture(side, r), mask))[1]  # type: ignore[misc]
        for repeat in range(repeats + 1)
    ]
    return {"refined window": median(spent[1:])}


def made_picture(side: int, seed: int) -> npt.NDArray[np.float32]:
    """A bright disk on a noisy ground, (side, side, 3) in [0, 1]; another one for every seed."""
    rows, cols = np.mgrid[:side, :side]
    disk = (rows - side / 2) ** 2 + (cols - side / 2) ** 2 < (side / 5) ** 2
    noise = np.random.default_rng(seed).normal(0, 0.05, (side, side, 3))
    picture: npt.NDArray[np.float32] = np.clip(0.3 + 0.4 * disk[..., None] + noise, 0, 1).astype(np.float32)
    return picture


def _check(side: int, repeats: int) -> None:
    if side < 32 or repeats < 1:
        raise InputError(f"A measurement needs 32 pixels and one repeat at least, got {side} and {repeats}.")


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    started = time.perf_counter()
    answer = work()
    return answer, time.perf_counter() - started
