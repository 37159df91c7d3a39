"""What AdaptiveClick's queries learn from: target masks with labels, and which query answers which target.

The matching cost is the published code's: its mask part imitates the adaptive focal loss on averages over
pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from napari_iseg.nn.exact import exact

OBJECT: Final = 1  # label and index of the object's class; 0 is "no object"
_EPS = 1e-12


@dataclass(frozen=True)
class Targets:
    """Of one image: ``labels`` (M,) int64 and ``masks`` (M, h * w) float32 of 0 and 1."""

    labels: Tensor
    masks: Tensor


@dataclass(frozen=True)
class Costs:
    """Unweighted costs of S sets of Q queries against M targets, each (S, Q, M)."""

    classes: Tensor
    focal: Tensor
    dice: Tensor

    def total(self) -> Tensor:
        """(S, Q, M), with the published weights."""
        return 2 * self.classes + 5 * self.focal + 5 * self.dice


def published_targets(truth: Tensor, size: tuple[int, int]) -> list[Targets]:
    """Targets as the published code makes them.

    The mask is reduced to the queries' size; each of its values but the least gives a target, whose label is
    the value without its fraction. So an image has up to three copies of the background with label 0 (values
    0.25, 0.5 and 0.75 along the outline) besides the object, and none where all or nothing is object.

    Parameters
    ----------
    truth : (B, 1, H, W), 1 object, 0 background
    size : (h, w) of the queries' masks
    """
    reduced = F.interpolate(truth.float(), size=size, mode="bilinear", align_corners=False)[:, 0]
    targets = []
    for mask in reduced:
        labels = mask.unique()[1:].long()
        planes = F.one_hot(mask.long(), 2).permute(2, 0, 1).flatten(1).float()
        targets.append(Targets(labels, planes[labels]))
    return targets


def object_targets(truth: Tensor, size: tuple[int, int]) -> list[Targets]:
    """One target per image with an object, label 1: the pixels that are at least half object.

    An object too thin for that keeps the pixels that it fills most. Parameters as in `published_targets`.
    """
    reduced = F.interpolate(truth.float(), size=size, mode="area")[:, 0].flatten(1)
    targets = []
    for mask in reduced:
        most = mask.max()
        count = int(most > 0)
        inside = (mask >= most.clamp(max=0.5)).float()
        labels = torch.full((count,), OBJECT, device=mask.device)
        targets.append(Targets(labels, inside[None].expand(count, -1)))
    return targets


@torch.no_grad()
def matching_costs(classes: Tensor, masks: Tensor, targets: Targets) -> Costs:
    """Costs of every query for every target.

    Parameters
    ----------
    classes : (S, Q, 2) logits of one image in S prediction sets
    masks : (S, Q, h * w) logits
    """
    logits, wanted = masks.float(), targets.masks
    probability, pixels = logits.sigmoid(), logits.shape[-1]
    with exact(logits):
        inside, area = probability @ wanted.T, wanted.sum(1)
        entropy = (F.softplus(-logits) @ wanted.T + F.softplus(logits) @ (1 - wanted).T) / pixels
    whole = probability.sum(-1, keepdim=True)
    # p in the object and 1 - p outside of it, averaged over pixels.
    right = (inside + (pixels - whole - area + inside)) / pixels
    exponent = 3 - inside / (area + _EPS)
    focus = (1 - right).clamp(min=0) ** exponent
    scale = len(area) / ((1 + 0.4 * exponent) * focus.sum(-1, keepdim=True) + _EPS)
    return Costs(
        classes=-classes.float().softmax(-1)[..., targets.labels],
        focal=0.5 * scale * focus * entropy + 0.5 * (focus + 1),
        dice=1 - (2 * inside + 1) / (whole + area + 1),
    )


def match(classes: Tensor, masks: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
    """The cheapest assignment of queries to targets, for each prediction set on its own.

    Parameters are those of `matching_costs`.

    Returns
    -------
    queries, targets : (S, K) int64 indices of the K = min(Q, M) pairs
    """
    costs = matching_costs(classes, masks, targets).total().cpu().numpy()
    if not costs.size:
        empty = torch.zeros((len(costs), 0), dtype=torch.long, device=masks.device)
        return empty, empty
    pairs = np.stack([np.stack(linear_sum_assignment(np.nan_to_num(cost, nan=1e6))) for cost in costs])
    chosen = torch.from_numpy(pairs).to(masks.device)
    return chosen[:, 0], chosen[:, 1]
