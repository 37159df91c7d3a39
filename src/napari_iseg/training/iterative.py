"""The training objective over several clicks of an object: iterative click loss (ICL) and plain training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_iseg.backends.base import ClickNet
from napari_iseg.training.losses import normalised_focal_loss

AddClick = Callable[[Tensor, Tensor, Tensor], Tensor]  # (probability, truth, clicks) -> clicks
Answer = Callable[[Tensor, Tensor, Tensor], Tensor]  # (image, previous mask, clicks) -> logits, as a ClickNet
Criterion = Callable[[Tensor, Tensor], Tensor]  # (logits, truth) -> loss per sample


@dataclass(frozen=True)
class Objective:
    """``loss`` to learn from, unweighted ``terms`` per counted forward, last ``logits`` and ``clicks``."""

    loss: Tensor
    terms: tuple[Tensor, ...]
    logits: Tensor
    clicks: Tensor


def icl_objective(
    net: Answer,
    image: Tensor,
    truth: Tensor,
    clicks: Tensor,
    *,
    forwards: int,
    add_click: AddClick,
    criterion: Criterion = normalised_focal_loss,
    previous: Tensor | None = None,
) -> Objective:
    """Iterative click loss: the sum over forwards i = 1..k of i times the loss, as in CFR-ICL's code.

    Every forward sees the previous probabilities detached, so no gradient flows from one forward to an
    earlier one.

    Parameters
    ----------
    net : in training mode
    image : (B, 3, H, W) float in [0, 1]
    truth : (B, 1, H, W), 1 object, 0 background, -1 ignored
    clicks : (B, 2N, 3), the first clicks
    forwards : k; the published training draws it from {1, 2, 3} per batch
    add_click : places the next click of each sample, see `clicks.iterative_clicks`
    criterion : loss per sample, averaged over the batch
    previous : (B, 1, H, W) probabilities to start from; default: zeros
    """
    previous = torch.zeros_like(image[:, :1]) if previous is None else previous
    total = image.new_zeros((), dtype=torch.float32)
    terms: list[Tensor] = []
    for i in range(1, forwards + 1):
        logits = net(image, previous, clicks)
        term = criterion(logits, truth).mean()
        terms.append(term)
        total = total + i * term
        if i < forwards:
            previous = logits.detach().sigmoid()
            clicks = add_click(previous, truth, clicks)
    return Objective(total, tuple(terms), logits, clicks)


def free_clicks(
    net: ClickNet, image: Tensor, truth: Tensor, clicks: Tensor, *, count: int, add_click: AddClick
) -> tuple[Tensor, Tensor]:
    """``count`` forwards in evaluation mode and without gradient, each followed by a click (RITM).

    Other parameters are those of `icl_objective`.

    Returns
    -------
    previous : (B, 1, H, W) probabilities, zeros when ``count`` is 0
    clicks : (B, 2N, 3)
    """
    previous = torch.zeros_like(image[:, :1])
    training = net.training
    net.eval()
    try:
        with torch.no_grad():
            for _ in range(count):
                previous = net(image, previous, clicks).sigmoid()
                clicks = add_click(previous, truth, clicks)
    finally:
        net.train(training)
    return previous, clicks
