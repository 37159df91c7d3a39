"""Adaptive focal loss (AdaptiveClick, arXiv 2305.04276), and the losses that it generalises."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_EPS = 1e-12


def adaptive_focal_loss(
    logits: Tensor,
    target: Tensor,
    *,
    gamma: float = 2.0,
    delta: float = 0.4,
    alpha: float = 1.0,
    epsilon: float | None = 0.5,
    adaptive: bool = True,
    normalise: bool = True,
) -> Tensor:
    """Adaptive focal loss of each map, the mean over its pixels.

    With p the probability of a pixel's true class: the exponent g = gamma + 1 - mean of p over the object
    grows where the object is badly found (``adaptive``); the focal weights (1 - p)^g are scaled by k, so
    that they sum to the number of pixels divided by 1 + delta g (``normalise``); and alpha (1 - p)^(g + 1)
    is added to each pixel's cross-entropy k (1 - p)^g CE. g and k carry no gradient, the weights do.

    Parameters
    ----------
    logits : (N, ...) float, N maps
    target : as ``logits``, in [0, 1]; above 0.5 is the object, -1 is ignored
    gamma, delta, alpha : of the paper
    epsilon : weight of the object's pixels, the others weigh ``1 - epsilon``; None weighs all alike by 1
    adaptive : False leaves the exponent at ``gamma``
    normalise : False leaves k at 1

    Returns
    -------
    (N,) float32
        0 for a map without a valid pixel; computed in float32 under autocast too

    Notes
    -----
    Special cases: ``adaptive=False, normalise=False, alpha=0`` is the focal loss with balance ``epsilon``,
    with ``gamma=0`` binary cross-entropy; ``adaptive=False, delta=0, alpha=0`` is the normalised focal loss.

    The authors' code raises 1 - p to the exponent as it is, whose gradient is NaN where p is 1 in float32 and
    the exponent below 1. Here powers are taken of its logarithm, which has the same values and a gradient for
    every finite logit.
    """
    logits, target = logits.float().flatten(1), target.float().flatten(1)
    valid = target >= 0
    target = target.clamp(min=0)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    log_wrong = _log_wrong(logits, target)
    exponent = logits.new_full((len(logits), 1), gamma)
    if adaptive:
        exponent = exponent + _lost(log_wrong, target, valid)
    focus = (exponent * log_wrong).exp()
    loss = focus * entropy
    count = valid.sum(1, keepdim=True)
    if normalise:
        total = (focus.detach() * valid).sum(1, keepdim=True)
        loss = loss * (count / ((1 + delta * exponent) * total + _EPS))
    if alpha:
        loss = loss + alpha * ((exponent + 1) * log_wrong).exp()
    if epsilon is not None:
        loss = loss * (epsilon * target + (1 - epsilon) * (1 - target))
    return (loss * valid).sum(1) / count[:, 0].clamp(min=1)


def _log_wrong(logits: Tensor, target: Tensor) -> Tensor:
    """Logarithm of 1 - p, p being the probability that the target gives to the answer."""
    return torch.logaddexp(F.logsigmoid(logits) + (1 - target).log(), F.logsigmoid(-logits) + target.log())


def _lost(log_wrong: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """1 - mean of p over the object, (N, 1), without gradient; 1 where there is no object."""
    inside = (target > 0.5) & valid
    right = -torch.expm1(log_wrong.detach())
    return 1 - (right * inside).sum(1, keepdim=True) / (inside.sum(1, keepdim=True) + _EPS)
