"""Losses of click models."""

from __future__ import annotations

import torch
from torch import Tensor


def normalised_focal_loss(
    logits: Tensor, target: Tensor, *, alpha: float = 0.5, gamma: float = 2.0, eps: float = 1e-12
) -> Tensor:
    """Normalised focal loss (Sofiiuk et al. 2019; the loss of RITM, SimpleClick and CFR-ICL).

    The focal weights of each map are scaled so that they sum to its number of valid pixels; the scale carries
    no gradient, the weights do. Computed in float32 under autocast too.

    Parameters
    ----------
    logits : (B, 1, H, W) float
    target : (B, 1, H, W); above 0.5 is object, -1 is ignored
    alpha : weight of object pixels; background pixels weigh ``1 - alpha``
    gamma : focusing exponent

    Returns
    -------
    (B,) float32
        The mean over valid pixels of each map; 0 for a map without any. Average it for the batch loss.
    """
    target = target.float()
    valid = target != -1
    probability = logits.float().sigmoid()
    one = torch.ones((), device=logits.device)
    right = torch.where(valid, 1 - (target - probability).abs(), one)
    weight = (1 - right) ** gamma
    count = valid.sum((1, 2, 3), dtype=torch.float32)
    scale = (count / (weight.detach().sum((1, 2, 3)) + eps)).view(-1, 1, 1, 1)
    balance = torch.where(target > 0.5, alpha, 1 - alpha) * valid
    pixel = -balance * weight * scale * torch.minimum(right + eps, one).log()
    return pixel.sum((1, 2, 3)) / (count + eps)
