"""The query path of IFSENet: query features, support vectors, prior and margin to a mask and its presence."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from napari_iseg.nn.ifsenet_parts import ConvNorm, FineHead, Residual, resize

RATIOS = (1.0, 0.5, 0.25, 0.125)
_MAPS = 4  # two prior channels, the margin, the neighbour's probability
# What these say by themselves at the start of training, as logits: about a training-free matcher.
_DIRECT, _DIRECT_BIAS = (0.0, 2.0, 6.0, 3.0), -2.0


@dataclass
class Condition:
    """All that the query path learns of the supports, for N (query, label) pairs.

    Parameters
    ----------
    vectors : (N, 2C): the gated image vector u and the click vector
    prior : (N, 2, h, w): stretched and calibrated
    margin : (N, 1, h, w)
    previous : (N, 1, h, w) probability of the neighbouring slice; zeros when there is none
    """

    vectors: Tensor
    prior: Tensor
    margin: Tensor
    previous: Tensor

    @property
    def maps(self) -> Tensor:
        """(N, 4, h, w)."""
        return torch.cat([self.prior, self.margin, self.previous], 1)


@dataclass
class QueryAnswer:
    """``logits`` (N, 1, H/2, W/2); ``aux`` four maps (N, 1, h_r, w_r); ``presence`` (N,) logit."""

    logits: Tensor
    aux: tuple[Tensor, ...]
    presence: Tensor


class _Joined(nn.Module):
    """1x1 convolution over maps and tiled vectors, the vectors' part done once per pair, not per cell."""

    def __init__(self, inner: int, vector: int, outer: int) -> None:
        super().__init__()
        self.maps = nn.Conv2d(inner, outer, 1)
        self.vector = nn.Linear(vector, outer, bias=False)

    def forward(self, maps: Tensor, vectors: Tensor) -> Tensor:
        """(N, inner, h, w) and (N, vector) -> (N, outer, h, w)."""
        joined: Tensor = self.maps(maps) + self.vector(vectors)[:, :, None, None]
        return torch.relu(joined)


class QueryPath(nn.Module):
    """PFENet's feature enrichment over four scales, fine to coarse, then a fine head and a presence head."""

    def __init__(self, channels: int, skip_channels: int) -> None:
        super().__init__()
        self.enter = _Joined(channels + _MAPS, 2 * channels, channels)
        self.attach = nn.ModuleList(_Joined(channels + _MAPS, 2 * channels, channels) for _ in RATIOS)
        self.down = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in RATIOS[1:])
        self.enrich = nn.ModuleList(Residual(channels) for _ in RATIOS)
        self.aux = nn.ModuleList(nn.Conv2d(channels, 1, 1) for _ in RATIOS)
        self.merge = ConvNorm(channels * len(RATIOS), channels, 1)
        self.last = Residual(channels)
        self.head = FineHead(channels, skip_channels)
        # Ours: the maps reach the answer directly too, so that training starts from a matcher.
        self.direct = nn.Conv2d(_MAPS, 1, 1)
        with torch.no_grad():
            self.direct.weight.copy_(torch.tensor(_DIRECT).view(1, _MAPS, 1, 1))
            self.direct.bias.fill_(_DIRECT_BIAS)  # type: ignore[union-attr]
        self.presence = nn.Sequential(nn.Linear(2 * channels + 2, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, m: Tensor, f1: Tensor, condition: Condition) -> QueryAnswer:
        """``m`` (N, C, h, w) at stride 8 and ``f1`` (N, C1, 2h, 2w), one row per (query, label) pair."""
        height, width = m.shape[-2:]
        maps = condition.maps
        x = self.enter(torch.cat([m, maps], 1), condition.vectors)
        scales: list[Tensor] = []
        aux: list[Tensor] = []
        for i, ratio in enumerate(RATIOS):
            size = max(1, round(height * ratio)), max(1, round(width * ratio))
            pooled = nn.functional.adaptive_avg_pool2d(torch.cat([x, maps], 1), size) if i else None
            y = self.attach[i](torch.cat([x, maps], 1) if pooled is None else pooled, condition.vectors)
            if scales:
                y = y + self.down[i - 1](nn.functional.adaptive_avg_pool2d(scales[-1], size))
            y = self.enrich[i](y)
            scales.append(y)
            aux.append(self.aux[i](y))
        merged = self.last(self.merge(torch.cat([resize(y, (height, width)) for y in scales], 1)))
        calibrated = condition.prior[:, 1]
        summary = torch.cat(
            [
                calibrated.amax((1, 2))[:, None],
                calibrated.mean((1, 2))[:, None],
                merged.amax((2, 3)),
                merged.mean((2, 3)),
            ],
            1,
        )
        fine = self.head(merged, f1)
        logits = fine + resize(self.direct(maps), fine.shape[-2:])
        return QueryAnswer(logits, tuple(aux), self.presence(summary)[:, 0])
