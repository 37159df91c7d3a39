"""Fitting the training-free profile to its supports: pixel head, and the weights of three opinions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_iseg.fewshot.base import Position, distance
from napari_iseg.fewshot.free_embedding import FreeEmbedding, prototype_rows
from napari_iseg.fewshot.pixel_head import PixelHead
from napari_iseg.fewshot.positional import interpolated_distances

Float = npt.NDArray[np.float32]
_DEFAULT = (0.8, 0.1, 0.5, 0.0)  # head, prototypes, position, threshold: for a single support
_MOST_FOLDS = 4
_LIMIT = 12.0  # of the position's score: it may be outvoted


@dataclass(frozen=True)
class Fitted:
    """A head and the weights (a, b, c, d) of head, prototypes, position and the constant."""

    head: PixelHead
    weights: tuple[float, float, float, float]


def fit(embeddings: Sequence[FreeEmbedding], count: int) -> Fitted:
    """Fit to supports; with two or more, the weights on pixels of supports that were left out."""
    head = _head(embeddings, count, steps=40)
    with_label = [e for e in embeddings if any(e.present)]
    if len(with_label) < 2:
        return Fitted(head, _DEFAULT)
    folds = with_label[:: max(1, len(with_label) // _MOST_FOLDS)][:_MOST_FOLDS]
    scores, targets = [], []
    for out in folds:
        rest = [e for e in embeddings if e is not out]
        present = [any(e.present[i] for e in rest) for i in range(count)]
        if not any(present):
            continue
        rows = out.rows.float()
        deep = rows[:, -out.widths[-1] :]
        where = position_scores(rest, out.support.position, out.support.shape, None, count)
        at = out.points.long()
        flat = (
            torch.zeros(len(rows), count)
            if where is None
            else torch.from_numpy(where[:, at[:, 0], at[:, 1]].T)
        )
        opinions = [_head(rest, count, steps=20).rows(rows), prototype_rows(deep, rest, count), flat]
        scores.append(torch.stack(opinions, 2))
        targets.append(out.targets)
    if not scores:
        return Fitted(head, _DEFAULT)
    return Fitted(head, _stacked(torch.cat(scores), torch.cat(targets)))


def position_scores(
    embeddings: Sequence[FreeEmbedding],
    position: Position,
    shape: tuple[int, int],
    previous: Float | None,
    count: int,
) -> Float | None:
    """What the neighbouring slices say of each pixel: (L, H, W), or None.

    The neighbour's answer where one is given; else the interpolated signed distance, in pixels, the weaker
    the further the supports are: a tenth of a gap from one it counts six times as much as a whole gap.
    """
    if previous is not None:
        odds = np.log(np.clip(previous[1:], 1e-3, 1 - 1e-3) / np.clip(1 - previous[1:], 1e-3, 1))
        return np.clip(odds, -_LIMIT, _LIMIT).astype(np.float32)
    outlines = [e.outlines for e in embeddings]
    distances = interpolated_distances(outlines, position, shape)
    if distances is None or len(distances) != count:
        return None
    places = [o.position for o in outlines if o is not None]
    gaps = [min(distance(a, b) for b in places if b != a) for a in set(places) if len(set(places)) > 1]
    unit = float(np.median(gaps)) if gaps else 0.0
    nearest = min(distance(p, position) for p in places)
    ratio = min(nearest / unit, 4.0) if unit > 0 else 1.0
    strength: Float = np.clip(distances / (0.25 + 4 * ratio), -_LIMIT, _LIMIT).astype(np.float32)
    return strength


def _head(embeddings: Sequence[FreeEmbedding], count: int, steps: int) -> PixelHead:
    rows = torch.cat([e.rows.float() for e in embeddings])
    targets = torch.cat([e.targets for e in embeddings])
    weights = torch.cat([e.weights for e in embeddings])
    return PixelHead(rows, targets, weights, count, embeddings[0].widths, steps)


def _stacked(scores: Tensor, targets: Tensor) -> tuple[float, float, float, float]:
    """Weights of the opinions (N, L, 3) that explain the targets best, drawn towards the default."""
    with torch.inference_mode(False), torch.enable_grad():
        known, wanted = scores.clone(), targets.clone()
        start = torch.tensor(_DEFAULT)
        weights = start.clone().requires_grad_(True)
        optimizer = torch.optim.LBFGS([weights], max_iter=30, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            logits = (known * weights[:3]).sum(2) + weights[3]
            logits = torch.cat([torch.zeros(len(logits), 1), logits], 1)
            loss: Tensor = F.cross_entropy(logits, wanted) + 0.01 * (weights - start).square().sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimizer.step(closure)
    a, b, c, d = (float(v) for v in weights.detach())
    return max(a, 0.0), max(b, 0.0), max(c, 0.0), d
