"""The per-project pixel classifier: two layers over a pyramid's levels, fitted in under a second.

FeatureForest and Convpaint train a forest on an encoder's features of the user's pixels; this is that idea
with a small network, because its first layer can be applied to each level at the level's own resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

_HIDDEN = 32
_DECAY = 3e-3


class PixelHead:
    """Logits of L labels against background, from the levels of a `Pyramid`.

    Parameters
    ----------
    rows : (N, D) float32 features of labelled pixels, the levels side by side
    targets : (N,) int64, 0 background, i the i-th label
    weights : (N,) float32
    count : L
    widths : channels of each level, in the order of ``rows``; they sum to D
    steps : iterations of L-BFGS
    """

    def __init__(
        self,
        rows: Tensor,
        targets: Tensor,
        weights: Tensor,
        count: int,
        widths: Sequence[int],
        steps: int = 30,
    ) -> None:
        self.widths = tuple(widths)
        self.mean, spread = rows.mean(0), rows.std(0)
        self.scale = 1 / torch.where(spread > 1e-4, spread, torch.ones_like(spread))
        # Levels count alike, however many channels they have.
        sizes = torch.cat([rows.new_full((w,), (len(widths) * w) ** -0.5) for w in widths])
        self.scale = self.scale * sizes
        maker = torch.Generator().manual_seed(0)
        drawn = partial(torch.randn, generator=maker, dtype=torch.float32)
        first = drawn(_HIDDEN, rows.shape[1]).to(rows)
        second = (0.2 * drawn(count + 1, _HIDDEN)).to(rows)
        self.parameters = [first, rows.new_zeros(_HIDDEN), second, rows.new_zeros(count + 1)]
        with torch.inference_mode(False), torch.enable_grad():
            self._fit(rows.clone(), targets.clone(), weights.clone(), steps)

    def rows(self, rows: Tensor) -> Tensor:
        """(N, L) logits of features (N, D)."""
        first, bias, second, last = self.parameters
        scores = torch.relu((rows - self.mean) * self.scale @ first.T + bias) @ second.T + last
        return scores[:, 1:] - scores[:, :1]

    def maps(self, levels: Sequence[Tensor]) -> Tensor:
        """(L, h, w) logits at the size of the first level, from levels (C_i, h_i, w_i)."""
        first, bias, second, last = self.parameters
        size = levels[0].shape[-2:]
        hidden = (bias - (self.mean * self.scale) @ first.T)[:, None, None]
        start = 0
        for level, width in zip(levels, self.widths, strict=True):
            kernel = (first * self.scale)[:, start : start + width]
            part = torch.einsum("oc,chw->ohw", kernel, level)
            # a linear layer may be applied before resizing as well as after
            hidden = hidden + F.interpolate(part[None], size=size, mode="bilinear", align_corners=False)[0]
            start += width
        scores = torch.einsum("oc,chw->ohw", second, torch.relu(hidden)) + last[:, None, None]
        return scores[1:] - scores[:1]

    def _fit(self, rows: Tensor, targets: Tensor, weights: Tensor, steps: int) -> None:
        parts = [p.clone().requires_grad_(True) for p in self.parameters]
        known = ((rows - self.mean.clone()) * self.scale.clone()).detach()
        optimizer = torch.optim.LBFGS(parts, max_iter=steps, history_size=8, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            scores = torch.relu(known @ parts[0].T + parts[1]) @ parts[2].T + parts[3]
            losses = F.cross_entropy(scores, targets, reduction="none")
            decay = parts[0].square().mean() * known.shape[1] ** 0.5 + parts[2].square().sum()
            loss: Tensor = (losses * weights).sum() / weights.sum() + _DECAY * decay
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimizer.step(closure)  # type: ignore[no-untyped-call]
        self.parameters = [p.detach() for p in parts]


def sampled_rows(levels: Sequence[Tensor], points: Tensor, size: tuple[int, int]) -> Tensor:
    """Features (N, D) of all levels at points (N, 2), rows (row, col) of an image of ``size``, bilinearly."""
    grid = ((points + 0.5) / points.new_tensor(size) * 2 - 1)[:, [1, 0]][None, :, None]
    parts = [
        F.grid_sample(level[None], grid, align_corners=False, padding_mode="border")[0, :, :, 0].T
        for level in levels
    ]
    return torch.cat(parts, 1)


def guided(logits: Tensor, guide: Tensor, radius: int = 2, tolerance: float = 4e-4) -> Tensor:
    """Fast guided filter (He & Sun 2015): (L, h, w) logits sharpened along the edges of ``guide``.

    Parameters
    ----------
    guide : (2h, 2w) float in [0, 1]

    Returns
    -------
    (L, 2h, 2w)
    """
    small = F.avg_pool2d(guide[None, None], 2)
    mean = _box(small, radius)
    variance = _box(small.square(), radius) - mean.square()
    means = _box(logits[None], radius)
    slope = (_box(logits[None] * small, radius) - means * mean) / (variance + tolerance)
    offset = means - slope * mean
    size = guide.shape
    slope, offset = (
        F.interpolate(_box(x, radius), size=size, mode="bilinear", align_corners=False)
        for x in (slope, offset)
    )
    return (slope * guide + offset)[0]


def _box(x: Tensor, radius: int) -> Tensor:
    padded = F.pad(x, (radius, radius, radius, radius), mode="replicate")
    return F.avg_pool2d(padded, 2 * radius + 1, 1)
