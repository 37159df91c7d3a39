"""Clicks on a slice that is predicted from others: facts about a few pixels, not a mask of the slice.

One click on a slice full of objects says nothing of the objects that were not clicked. Taken as a support of
its own it would be an image with one small object, and the slices around would lose all others. Beside
painted supports a click is therefore a small piece of image in which only the clicked spot is known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_iseg.fewshot.answers import disk, with_known
from napari_iseg.fewshot.base import UNKNOWN, Prediction, Support
from napari_iseg.prompts import Click, Window

_SIDE = 96  # pixels of a piece


def beside_painted(supports: Sequence[Support]) -> list[Support]:
    """The supports as a model is given them: clicks beside painted supports as pieces; else unchanged."""
    painted = [support for support in supports if support.is_painted]
    if not painted or len(painted) == len(supports):
        return list(supports)
    clicked = [support for support in supports if not support.is_painted]
    return painted + [
        _piece(support, number, label, click)
        for support in clicked
        for number, (label, click) in enumerate(support.clicks)
    ]


def honest(
    answer: Prediction, support: Support, window: Window, own: Window, labels: Sequence[int]
) -> Prediction:
    """An answer for ``window`` of a plane that agrees with the clicks on it.

    Parameters
    ----------
    support, own : a support without painted pixels on the same plane, and the window it covers
    """
    rows, cols = window.top - own.top, window.left - own.left
    clicks = tuple(
        (label, Click(click.row - rows, click.col - cols, click.positive))
        for label, click in support.clicks
        if window.contains(click.row + own.top, click.col + own.left)
    )
    if not clicks:
        return answer
    here = Support(
        support.key,
        np.zeros((*window.shape, 3), np.float32),
        np.full(window.shape, UNKNOWN, np.int32),
        clicks,
    )
    return Prediction(with_known(answer.probability, here, labels), answer.trust, answer.presence)


def _piece(support: Support, number: int, label: int, click: Click) -> Support:
    """The surroundings of one click, where only the clicked spot is known.

    A negative click makes its spot background. The piece never is the whole image: that would be taken for
    the support's own image.
    """
    sides = [min(_SIDE, size - 1) for size in support.shape]
    starts = [
        int(np.clip(round(at) - side // 2, 0, size - side))
        for at, side, size in zip((click.row, click.col), sides, support.shape, strict=True)
    ]
    part = tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))
    mask = np.full((sides[0], sides[1]), UNKNOWN, np.int32)
    spot = disk(click.row - starts[0], click.col - starts[1], (sides[0], sides[1]))
    mask[spot] = label if click.positive else 0
    return Support(
        f"{support.key}#{number}",
        np.ascontiguousarray(support.image[part]),
        mask,
        position=support.position,
        version=support.version,
    )
