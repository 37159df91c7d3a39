"""The query path of IFSENet: query features, support vectors, prior and margin to a mask and its presence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from napari_iseg.nn.ifsenet_parts import ConvNorm, FineHead, Residual, resize

RATIOS = (1.0, 0.5, 0.25, 0.125)
_SEEN = 5  # numbers beside the features that the presence head looks at
_MAPS = 5  # two prior channels, the margin, the fitted rule, the neighbour
# What these say by themselves at the start of training, as logits: about a training-free matcher.
_COARSE, _FINE, _BIAS = (0.0, 1.0, 3.0), (4.0, 6.0), -0.5


@dataclass
class Condition:
    """All that the query path learns of the supports, for one (query, label) pair, or for N in a batch.

    Parameters
    ----------
    vectors : (2C,): the gated image vector u and the click vector
    prior : (2, h, w): stretched and calibrated
    margin : (1, h, w)
    fitted : (1, H/2, W/2): the fitted rule, about 1 on the label and -0.5 elsewhere
    previous : (1, H/2, W/2): what neighbouring slices say, -1 to 1; zeros when there is none
    """

    vectors: Tensor
    prior: Tensor
    margin: Tensor
    fitted: Tensor
    previous: Tensor

    @classmethod
    def stack(cls, pairs: Sequence[Condition]) -> Condition:
        """N pairs as a batch."""
        return cls(*(torch.stack([getattr(pair, f.name) for pair in pairs]) for f in fields(cls)))

    @property
    def coarse(self) -> Tensor:
        """(N, 3, h, w)."""
        return torch.cat([self.prior, self.margin], 1)

    @property
    def fine(self) -> Tensor:
        """(N, 2, H/2, W/2)."""
        return torch.cat([self.fitted, self.previous], 1)


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
        self.near = nn.Conv2d(2, self.head.skip_width, 3, padding=1)
        # Ours: the maps reach the answer directly too, so that training starts from a matcher.
        self.direct = nn.Conv2d(3, 1, 1)
        self.direct_fine = nn.Conv2d(2, 1, 1, bias=False)
        with torch.no_grad():
            self.direct.weight.copy_(torch.tensor(_COARSE).view(1, 3, 1, 1))
            self.direct_fine.weight.copy_(torch.tensor(_FINE).view(1, 2, 1, 1))
            self.direct.bias.fill_(_BIAS)  # type: ignore[union-attr]
        self.presence = nn.Sequential(nn.Linear(2 * channels + _SEEN, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, m: Tensor, f1: Tensor, condition: Condition) -> QueryAnswer:
        """``m`` (N, C, h, w) at stride 8 and ``f1`` (N, C1, 2h, 2w), one row per (query, label) pair."""
        height, width = m.shape[-2:]
        fine = condition.fine
        maps = torch.cat([condition.coarse, nn.functional.adaptive_avg_pool2d(fine, (height, width))], 1)
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
        near = self.near(nn.functional.avg_pool2d(fine, 2))
        answer = self.head(merged, f1, near)
        logits = answer + self.direct_fine(fine) + resize(self.direct(condition.coarse), fine.shape[-2:])
        return QueryAnswer(logits, tuple(aux), self._presence(merged, condition, logits))

    def _presence(self, merged: Tensor, condition: Condition, logits: Tensor) -> Tensor:
        calibrated = condition.prior[:, 1]
        smooth = [nn.functional.avg_pool2d(x, 5, 2, 2) for x in (condition.fitted, logits.detach())]
        summary = [calibrated.amax((1, 2))[:, None], calibrated.mean((1, 2))[:, None]]
        summary += [x.amax((2, 3)) for x in (*smooth, condition.previous, merged)] + [merged.mean((2, 3))]
        found: Tensor = self.presence(torch.cat(summary, 1))[:, 0]
        return found
