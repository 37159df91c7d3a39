"""Losses of IS5Net and its GT encoder, as released (is not the paper's IS-Net, which has the first term
alone, unweighted).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BCE_WEIGHT: Final = 20.0
IOU_WEIGHT: Final = 0.5
ORTHOGONALITY_WEIGHT: Final = 1e-8


def map_losses(logits: Sequence[Tensor], target: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross entropy and IoU loss of each side map.

    Parameters
    ----------
    logits : maps (B, 1, h, w)
    target : (B, 1, H, W) in [0, 1]; resized (bilinear, corners aligned) to a map of another size

    Returns
    -------
    bce, iou : (number of maps,) float32; iou is the mean over the batch of
        1 - (sum(q t) + 1) / (sum(q + t - q t) + 1), q the map's probability
    """
    crossed, overlaps = [], []
    for one in logits:
        truth = target
        if one.shape[-2:] != target.shape[-2:]:
            truth = F.interpolate(target, size=one.shape[-2:], mode="bilinear", align_corners=True)
        one = one.float()
        crossed.append(F.binary_cross_entropy_with_logits(one, truth))
        both = (one.sigmoid() * truth).sum((1, 2, 3))
        either = (one.sigmoid() + truth).sum((1, 2, 3)) - both
        overlaps.append((1 - (both + 1) / (either + 1)).mean())
    return torch.stack(crossed), torch.stack(overlaps)


def feature_loss(features: Sequence[Tensor], truth: Sequence[Tensor], mode: str = "mse") -> Tensor:
    """How far the network's feature maps are from the GT encoder's, () float32, summed over the levels.

    Parameters
    ----------
    features, truth : maps of equal shapes, level by level; no gradient flows to ``truth``
    mode : "mse" (released default), "mae", "smooth-l1" or "kl" (of the soft-maxed channels)
    """
    total = features[0].new_zeros((), dtype=torch.float32)
    for ours, theirs in zip(features, truth, strict=True):
        ours, theirs = ours.float(), theirs.detach().float()
        if mode == "kl":
            total = total + F.kl_div(ours.log_softmax(1), theirs.softmax(1), reduction="none").mean()
        else:
            term = {"mse": F.mse_loss, "mae": F.l1_loss, "smooth-l1": F.smooth_l1_loss}[mode]
            total = total + term(ours, theirs)
    return total


def orthogonality(net: nn.Module) -> Tensor:
    """Sum over all weights (biases left out, norm scales not) of the absolute entries of W W^T - I.

    W is a weight flattened to (outputs, rest). Unweighted: the released factor is `ORTHOGONALITY_WEIGHT`.
    """
    weights = [value for name, value in net.named_parameters() if "bias" not in name]
    total = weights[0].new_zeros((), dtype=torch.float32)
    for weight in weights:
        flat = weight.float().flatten(1) if weight.ndim > 1 else weight.float()[:, None]
        gram = flat @ flat.T
        gram = gram - torch.eye(len(gram), device=gram.device)
        total = total + gram.abs().sum()
    return total
