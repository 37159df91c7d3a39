"""Fitting the training-free profile to its supports: pixel head, and the weights of three opinions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_iseg.fewshot.free_embedding import FreeEmbedding, prototype_rows
from napari_iseg.fewshot.pixel_head import PixelHead
from napari_iseg.fewshot.positional import position_scores

Float = npt.NDArray[np.float32]
_DEFAULT = (0.8, 0.1, 0.5, 0.0)  # head, prototypes, position, threshold: for a single support
_MOST_FOLDS = 4
_ROWS, _FOLD_ROWS = 2048, 512  # pixels a head is fitted to at most: the cost stays flat as a project grows
_LEAST_HEAD = 0.25
_MOST_BACKGROUND = 3.0  # its weight over that of all labels together: else it would outvote small objects
_POSITION_SCALE = 4.0


@dataclass(frozen=True)
class Fitted:
    """A head and the weights (a, b, c, d) of head, prototypes, position and the constant."""

    head: PixelHead
    weights: tuple[float, float, float, float]


def fit(embeddings: Sequence[FreeEmbedding], count: int) -> Fitted:
    """Fit to supports; with two or more, the weights on pixels of supports that were left out.

    The head sees position too, for what depends on both ("dark, and near the outline"); a support's position
    scores come from the other supports, as a query's will.
    """
    where = [_position_rows([e for e in embeddings if e is not one], one, count) for one in embeddings]
    head = _head(embeddings, where, count, 30, _ROWS)
    with_label = [i for i, e in enumerate(embeddings) if any(e.present)]
    if len(with_label) < 2:
        return Fitted(head, _DEFAULT)
    folds = with_label[:: max(1, len(with_label) // _MOST_FOLDS)][:_MOST_FOLDS]
    scores, targets, weights = [], [], []
    for out in folds:
        rest = [i for i in range(len(embeddings)) if i != out]
        others = [embeddings[i] for i in rest]
        if not any(e.present[row] for e in others for row in range(count)):
            continue
        one, flat = embeddings[out], where[out]
        rows = one.rows.float()
        fitted = _head(others, [where[i] for i in rest], count, 10, _FOLD_ROWS)
        opinions = [
            fitted.rows(torch.cat([rows, flat / _POSITION_SCALE], 1)),
            prototype_rows(rows[:, -one.widths[-1] :], others, count),
            flat,
        ]
        scores.append(torch.stack(opinions, 2))
        targets.append(one.targets)
        weights.append(one.weights)
    if not scores:
        return Fitted(head, _DEFAULT)
    wanted = torch.cat(targets)
    return Fitted(head, _stacked(torch.cat(scores), wanted, _balanced(wanted, torch.cat(weights))))


def position_level(where: Float | None, half: tuple[int, int], count: int) -> Tensor:
    """The head's last level (L, h, w) at half size, from position scores (L, H, W); zeros for None."""
    level = torch.zeros(count, half[0] * 2, half[1] * 2, dtype=torch.float32)
    if where is not None:
        level[:, : where.shape[1], : where.shape[2]] = torch.from_numpy(where)
    return F.avg_pool2d(level[None], 2)[0] / _POSITION_SCALE


def _position_rows(others: Sequence[FreeEmbedding], one: FreeEmbedding, count: int) -> Tensor:
    """(N, L): position scores of a support's pixels from the other supports; zeros without any."""
    where = position_scores(
        [e.outlines for e in others], one.support.position, one.support.shape, None, count
    )
    if where is None:
        return torch.zeros(len(one.rows), count, dtype=torch.float32)
    at = one.points.long().numpy()
    return torch.from_numpy(np.ascontiguousarray(where[:, at[:, 0], at[:, 1]].T))


def _head(
    embeddings: Sequence[FreeEmbedding], where: Sequence[Tensor], count: int, steps: int, most: int
) -> PixelHead:
    """A head for supports and their position rows, on at most ``most`` pixels, evenly taken from all."""
    pairs = zip(embeddings, where, strict=True)
    rows = torch.cat([torch.cat([e.rows.float(), flat / _POSITION_SCALE], 1) for e, flat in pairs])
    targets = torch.cat([e.targets for e in embeddings])
    weights = torch.cat([e.weights for e in embeddings])
    if len(rows) > most:
        kept = torch.linspace(0, len(rows) - 1, most, dtype=torch.float64).round().long()
        rows, targets, weights = rows[kept], targets[kept], weights[kept]
    widths = (*embeddings[0].widths, count)
    return PixelHead(rows, targets, _balanced(targets, weights), count, widths, steps)


def _balanced(targets: Tensor, weights: Tensor) -> Tensor:
    fore = weights[targets > 0].sum()
    back = weights[targets == 0].sum().clamp(min=1e-6)
    factor = (_MOST_BACKGROUND * fore / back).clamp(max=1.0)
    return torch.where(targets == 0, weights * factor, weights)


def _stacked(scores: Tensor, targets: Tensor, counts: Tensor) -> tuple[float, float, float, float]:
    """Weights of the opinions (N, L, 3) that explain the targets best, drawn towards the default."""
    with torch.inference_mode(False), torch.enable_grad():
        known, wanted, count = scores.clone(), targets.clone(), counts.clone()
        start = torch.tensor(_DEFAULT, dtype=torch.float32)
        weights = start.clone().requires_grad_(True)
        optimizer = torch.optim.LBFGS([weights], max_iter=30, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            logits = (known * weights[:3]).sum(2) + weights[3]
            logits = torch.cat([logits.new_zeros(len(logits), 1), logits], 1)
            losses = F.cross_entropy(logits, wanted, reduction="none") * count
            loss: Tensor = losses.sum() / count.sum() + 0.01 * (weights - start).square().sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimizer.step(closure)  # type: ignore[no-untyped-call]
    a, b, c, d = (float(v) for v in weights.detach())
    # A left-out support may be unlike the rest; the opinions of pixels are never dropped for that.
    return max(a, _LEAST_HEAD), max(b, 0.0), max(c, 0.0), float(np.clip(d, -1, 1))
