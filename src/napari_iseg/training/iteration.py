"""One training step of a click model: free clicks, then the weighted forwards of ICL."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_iseg.backends.base import ClickNet
from napari_iseg.training.clicks import Draw, iterative_clicks
from napari_iseg.training.losses import normalised_focal_loss
from napari_iseg.training.recipe import LossRecipe

Batch = dict[str, Tensor]


def free_clicks(net: ClickNet, batch: Batch, count: int, draw: Draw) -> tuple[Tensor, Tensor]:
    """``count`` forwards without gradient, each followed by a click: the previous mask (B, 1, H, W) and the clicks."""
    clicks, previous = batch["clicks"], torch.zeros_like(batch["truth"])
    with torch.no_grad():
        for _ in range(count):
            previous = net(batch["image"], previous, clicks).sigmoid()
            clicks = iterative_clicks(previous, batch["truth"], clicks, draw)
    return previous, clicks


def expected_iou(logits: Tensor, truth: Tensor, full_area: Tensor) -> Tensor:
    """IoU of the mask with the whole object, (B,): an object cut by the window counts with its full area."""
    mask = (logits.detach() > 0).float()
    common = (mask * truth).sum((1, 2, 3))
    return common / (mask.sum((1, 2, 3)) + full_area - common).clamp(min=1)


def icl_loss(net: ClickNet, batch: Batch, forwards: int, recipe: LossRecipe, draw: Draw, free: int = 0) -> Tensor:
    """Sum over forwards i = 1..k of i times the normalised focal loss (CFR-ICL section 3.3; k = ``forwards``).

    Previous masks are detached, as published. A network with a quality head also learns the IoU of each of its masks,
    a term of ours. Without ``recipe.icl`` only the last forward counts (plain iterative training).
    """
    previous, clicks = free_clicks(net, batch, free if recipe.icl else free + forwards - 1, draw)
    total = batch["image"].new_zeros(())
    trained = getattr(net, "trained", None)
    for i in range(1, (forwards if recipe.icl else 1) + 1):
        if trained is not None:
            logits, quality = trained(batch["image"], previous, clicks)
            target = expected_iou(logits, batch["truth"], batch["full_area"])
            total = total + recipe.quality * F.binary_cross_entropy_with_logits(quality, target)
        else:
            logits = net(batch["image"], previous, clicks)
        loss = normalised_focal_loss(logits, batch["truth"], alpha=recipe.alpha, gamma=recipe.gamma)
        total = total + i * loss.mean()
        previous = logits.detach().sigmoid()
        if i < forwards:
            clicks = iterative_clicks(previous, batch["truth"], clicks, draw)
    return total
