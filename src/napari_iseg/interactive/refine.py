"""Cascade-forward refinement (CFR): more passes for one click, each fed with the answer of the one before."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from napari_iseg.errors import CancelledError
from napari_iseg.interactive.passes import run_pass
from napari_iseg.interactive.state import State
from napari_iseg.interactive.zoom import WindowRule

if TYPE_CHECKING:
    from torch import Tensor

    from napari_iseg.backends.base import Inference
    from napari_iseg.backends.model import Model

OnePass = Callable[["Model", WindowRule, "Tensor", State], State]


def passes_for(inference: Inference, clicks: int) -> int:
    """Most passes for the click that makes the count ``clicks``.

    The published code refines only the first ``refine_clicks`` clicks (its default is 1); the paper's Eq. 4
    and 5 refine every click (None).
    """
    if inference.refine_clicks is not None and clicks > inference.refine_clicks:
        return 1
    return inference.refine_steps + 1


def run_passes(
    model: Model,
    rule: WindowRule,
    image: Tensor,
    state: State,
    cancelled: Callable[[], bool],
    one_pass: OnePass = run_pass,
) -> State:
    """All passes for the newest click of ``state``; A-CFR stops once at most ``refine_pixels`` pixels change.

    ``one_pass`` is how the network is asked once.

    Raises
    ------
    CancelledError
        If ``cancelled()`` is true before a pass.
    """
    inference = model.inference
    for step in range(passes_for(inference, len(state.clicks))):
        if cancelled():
            raise CancelledError("The prediction was stopped because it is no longer wanted.")
        before, state = state, one_pass(model, rule, image, state)
        # Fitted to the clicks, or trained to be asked once for each.
        if state.thin or state.begun is not None:
            break
        if step and inference.refine_adaptive:
            masks = (before.probability > inference.threshold, state.probability > inference.threshold)
            if np.count_nonzero(masks[0] != masks[1]) <= inference.refine_pixels:
                break
    return state
