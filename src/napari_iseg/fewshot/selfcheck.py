"""Trust in a query: does its predicted mask, used as a support, give the supports' masks back (alignment)?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_iseg.nn.ifsenet_match import background_prototypes, foreground_prototypes, masked_mean
from napari_iseg.nn.ifsenet_match import nearest_similarity as nearest


@dataclass(frozen=True, eq=False)
class Checkable:
    """A support's comparison features (C, h, w) float16 and its labels' shares (L, h, w) of the cells."""

    features: Tensor
    shares: Tensor

    @classmethod
    def of(cls, features: Tensor, shares: Tensor) -> Checkable:
        """Both kept at half precision."""
        return cls(features.half(), shares.half())

    @property
    def nbytes(self) -> int:
        """Bytes of both."""
        return sum(t.numel() * t.element_size() for t in (self.features, self.shares))


def explained(query: Tensor, shares: Tensor, supports: Sequence[Checkable], weights: Tensor) -> float:
    """Weighted mean IoU of the supports' masks with those that the query's prototypes give them.

    Parameters
    ----------
    query : (C, h, w) features
    shares : (L + 1, h, w) predicted shares of its cells, background first
    supports, weights : the latter (k,), sum 1

    Returns
    -------
    float
        0 to 1; 0 where no label was found with a cell's worth of pixels, or no support has one of those found
    """
    found = [i for i in range(1, len(shares)) if float(shares[i].sum()) >= 1]
    if not found:
        return 0.0
    groups = [background_prototypes(query, shares[0])]
    groups += [foreground_prototypes(query, shares[i], masked_mean(query, shares[i])) for i in found]
    total, weight_sum = 0.0, 0.0
    for support, weight in zip(supports, weights.tolist(), strict=True):
        features = support.features.float()
        scores = torch.stack([nearest(features, rows, rows.new_zeros(len(rows))) for rows in groups])
        if not len(groups[0]):
            scores[0] = -1.0
        winner = scores.argmax(0)
        for row, label in enumerate(found, 1):
            truth = support.shares[label - 1].float() > 0.5
            if bool(truth.any()):
                mask = winner == row
                union = int((mask | truth).sum())
                total += weight * int((mask & truth).sum()) / max(union, 1)
                weight_sum += weight
    return total / weight_sum if weight_sum > 0 else 0.0
