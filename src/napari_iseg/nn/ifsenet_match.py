"""Comparing a query with supports: prototypes, tokens, prior and margin maps (no parameters here).

Shares are (h, w) float in [0, 1]: how much of each cell of a feature map a mask covers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SIMILARITY = 20.0  # PANet's scale of the cosine classifier
_EPS = 1e-6


def masked_mean(features: Tensor, share: Tensor) -> Tensor:
    """Masked average pooling: (C, h, w) by (h, w) -> (C,); zero for an empty mask."""
    return (features * share).sum((1, 2)) / (share.sum() + _EPS)


def to_cells(mask: Tensor, size: Sequence[int]) -> Tensor:
    """(H, W) float mask to shares of (h, w) cells."""
    return F.adaptive_avg_pool2d(mask[None, None].float(), (size[0], size[1]))[0, 0]


def farthest(rows: Tensor, count: int) -> Tensor:
    """Indices of at most ``count`` rows (N, C) that lie far from each other.

    Greedy k-centre from the one nearest the mean; at most 1024 evenly spread candidates are looked at, so
    the cost is bounded.
    """
    total = rows.shape[0]
    if total <= count:
        return torch.arange(total, device=rows.device)
    candidates = torch.arange(total, device=rows.device)
    if total > 1024:
        candidates = (
            torch.linspace(0, total - 1, 1024, device=rows.device, dtype=torch.float32).round().long()
        )
    points = rows.detach()[candidates]
    gap = torch.cdist(points, points.mean(0, keepdim=True))[:, 0]
    chosen = [gap.argmin()]
    nearest = torch.full_like(gap, float("inf"))
    for _ in range(min(count, len(candidates)) - 1):
        nearest = torch.minimum(nearest, (points - points[chosen[-1]]).square().sum(1))
        chosen.append(nearest.argmax())
    return candidates[torch.stack(chosen)].sort().values


def centres(rows: Tensor, count: int, rounds: int = 5) -> Tensor:
    """K-means centres of rows (N, C): (min(count, N), C), deterministic; gradients reach the rows."""
    if rows.shape[0] <= count:
        return rows
    with torch.no_grad():
        middle = rows[farthest(rows, count)].clone()
        for _ in range(rounds):
            owner = torch.cdist(rows, middle).argmin(1)
            counts = torch.bincount(owner, minlength=len(middle)).clamp(min=1)[:, None]
            sums = torch.zeros_like(middle).index_add_(0, owner, rows)
            moved = sums / counts
            used = torch.bincount(owner, minlength=len(middle))[:, None] > 0
            middle = torch.where(used, moved, middle)
        owner = torch.cdist(rows, middle).argmin(1)
    kept = torch.unique(owner)
    return torch.stack([rows[owner == k].mean(0) for k in kept])


def foreground_prototypes(features: Tensor, share: Tensor, mean: Tensor, count: int = 4) -> Tensor:
    """The mean and, where at least 8 cells per centre are inside, k-means centres: (P, C)."""
    rows = features[:, share > 0.5].T
    extra = min(count, rows.shape[0] // 8)
    return torch.cat([mean[None], centres(rows, extra)]) if extra > 1 else mean[None]


def background_prototypes(features: Tensor, share: Tensor, count: int = 16, grid: int = 4) -> Tensor:
    """Means (P, C) over blocks of ``grid`` x ``grid`` cells that are background by over 95 %.

    At most ``count``, by k-means. Where no block is, single cells are taken, the purest first; without any
    background (0, C).
    """
    blocks = F.avg_pool2d(share[None, None], grid, ceil_mode=True, count_include_pad=False)[0, 0]
    means = F.avg_pool2d(features[None], grid, ceil_mode=True, count_include_pad=False)[0]
    rows = means[:, blocks > 0.95].T
    if not len(rows):
        best = share.flatten().topk(min(count, share.numel()))
        flat = features.flatten(1)[:, best.indices[best.values > 0.05]]
        rows = flat.T
    return centres(rows, count) if len(rows) else rows


def choose_tokens(features: Tensor, share: Tensor, rim: Tensor | None, count: int = 512) -> Tensor:
    """At most ``count`` L2-normalised rows (N, C) of the cells a mask covers by half.

    Parameters
    ----------
    rim : (h, w) bool cells of which half of the rows come, or None
    """
    if count < 1:
        return features.new_zeros(0, features.shape[0])
    inside = share > 0.5
    if not inside.any():
        inside = share >= share.max().clamp(min=_EPS)
    flat = F.normalize(features.flatten(1).T, dim=1)
    everywhere = inside.flatten()
    if rim is None:
        rows = flat[everywhere]
        return rows[farthest(rows, count)]
    near = flat[everywhere & rim.flatten()]
    far = flat[everywhere & ~rim.flatten()]
    near = near[farthest(near, max(count // 2, count - len(far)))]
    return torch.cat([near, far[farthest(far, count - len(near))]])


def top_similarity(query: Tensor, tokens: Tensor, count: int = 3) -> Tensor:
    """Mean of the ``count`` largest cosines of each position (C, h, w) with tokens (N, C): (h, w).

    The mean instead of the maximum, so that one odd token cannot light up the map; 0 without tokens.
    """
    height, width = query.shape[-2:]
    if not len(tokens):
        return query.new_zeros(height, width)
    cosines = F.normalize(query.flatten(1).T, dim=1) @ tokens.T
    return cosines.topk(min(count, len(tokens)), dim=1).values.mean(1).view(height, width)


def stretched(values: Tensor) -> Tensor:
    """(h, w) brought to 0..1 by its own range; zeros for a constant map."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low).clamp(min=_EPS) * (high - low > _EPS)


def nearest_similarity(query: Tensor, prototypes: Tensor, bonus: Tensor) -> Tensor:
    """Largest cosine (h, w) of each position (C, h, w) with prototypes (P, C).

    Each is raised by ``bonus / 20``; ``bonus`` (P,) is the logarithm of a prototype's weight. Without
    prototypes 0.
    """
    height, width = query.shape[-2:]
    if not len(prototypes):
        return query.new_zeros(height, width)
    cosines = F.normalize(query.flatten(1).T, dim=1) @ F.normalize(prototypes, dim=1).T
    return (cosines + bonus / SIMILARITY).amax(1).view(height, width)


def cosine_logits(features: Tensor, foreground: Tensor, background: Tensor) -> Tensor:
    """PANet's classifier as a logit: (C, h, w) with prototypes (P, C) and (R, C) -> (h, w)."""
    inside = nearest_similarity(features, foreground, foreground.new_zeros(len(foreground)))
    outside = nearest_similarity(features, background, background.new_zeros(len(background)))
    return SIMILARITY * (inside - outside)


def rim_of(share: Tensor) -> Tensor:
    """(h, w) bool: cells within one cell of the border of a mask, on either side."""
    inside = (share > 0.5).float()[None, None]
    grown = F.max_pool2d(inside, 3, 1, 1)
    shrunk = -F.max_pool2d(-inside, 3, 1, 1)
    return (grown != shrunk)[0, 0]
