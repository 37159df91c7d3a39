"""When a chain of slices has lost its object."""

from __future__ import annotations

import numpy as np

from napari_iseg.fewshot.scratch import Draft

MIN_TRUST = 0.5
MOST_GROWTH = 2.0  # times, from one slice to the next
_SLACK = 64  # pixels: small objects come and go


def areas(draft: Draft) -> tuple[int, ...]:
    """Pixels where each label is the most probable."""
    if draft.probability is None:
        return tuple(0 for _ in draft.presence)
    best = draft.with_background().argmax(0)
    return tuple(int(np.count_nonzero(best == row + 1)) for row in range(len(draft.probability)))


def jumped(before: Draft, after: Draft) -> bool:
    """Whether an object more than doubled or halved from one slice to the next."""
    return any(
        max(old, new) > MOST_GROWTH * min(old, new) + _SLACK
        for old, new in zip(areas(before), areas(after), strict=True)
    )
