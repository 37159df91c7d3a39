"""Multi-scale deformable attention (Deformable DETR, arXiv 2010.04159, Eq. 3), one weighted gather per layer.

Every answer is a weighted sum of a few rows of the values: the corners around each sampling place, weighted
by bilinear share times attention. That is what an embedding bag computes, for all levels, points, heads and
samples at once and without a tensor of gathered values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_iseg.nn.fused import Linear

Shape = tuple[int, int]


def deformable_sample(value: Tensor, shapes: Sequence[Shape], locations: Tensor, weights: Tensor) -> Tensor:
    """Sum over levels and points of weight times the value at a place, bilinear, zero outside the map.

    Parameters
    ----------
    value : (B, N, heads, D) float, the levels' maps in raster order, one after the other
    shapes : (rows, cols) of each of the L levels; rows * cols add up to N
    locations : (B, Q, heads, L, P, 2) float, (x, y) as shares of a level's width and height; pixel (row, col)
        has its centre at ((col + 0.5) / cols, (row + 0.5) / rows)
    weights : (B, Q, heads, L, P) float

    Returns
    -------
    (B, Q, heads * D) float32; computed in float32 under autocast too
    """
    points = weights.shape[-1]
    batch, queries = locations.shape[:2]
    rows, cols = _sides(shapes, value.shape[2], points, value.device)
    x, y = locations.float().view(batch, queries, -1, 2).unbind(-1)
    return _weighted_rows(
        value, shapes, y * rows - 0.5, x * cols - 0.5, weights.reshape(batch, queries, -1), points
    )


def _sides(shapes: Sequence[Shape], heads: int, points: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows and columns of the level of each sampled place, float32 (heads * L * P,).

    All places of a query lie in one flat axis: elementwise work on short inner axes is many times slower.
    """
    sizes = torch.tensor(shapes, dtype=torch.float32, device=device).repeat_interleave(points, 0)
    rows, cols = sizes.repeat(heads, 1).unbind(1)
    return rows, cols


def _weighted_rows(
    value: Tensor, shapes: Sequence[Shape], row: Tensor, col: Tensor, weights: Tensor, points: int
) -> Tensor:
    """The sum of `deformable_sample`, of places in pixels.

    Parameters
    ----------
    row, col, weights : (B, Q, heads * L * P) float32; pixel centres are at whole numbers

    Returns
    -------
    (B, Q, heads * D)
    """
    batch, count, heads, dim = value.shape
    queries, device = row.shape[1], value.device
    rows, cols = _sides(shapes, heads, points, device)
    starts = torch.tensor([0, *(h * w for h, w in shapes[:-1])], device=device).cumsum(0)
    head = torch.arange(heads, device=device).repeat_interleave(len(shapes) * points)
    sample = torch.arange(batch, device=device).view(-1, 1, 1) * (count * heads)
    base = (starts.repeat_interleave(points).repeat(heads) * heads + head + sample).int()
    above, below = _neighbours(row, rows)
    left, right = _neighbours(col, cols)
    stride = (cols * heads).int()
    lines = [(base + whole * stride, share * weights) for whole, share in (above, below)]
    places = [(whole * heads, share) for whole, share in (left, right)]
    bags = (batch, queries, heads, -1)
    index = torch.cat([(i + j).view(bags) for i, _ in lines for j, _ in places], -1)
    shares = torch.cat([(a * b).view(bags) for _, a in lines for _, b in places], -1)
    mixed = F.embedding_bag(
        index.flatten(0, 2),
        value.float().reshape(-1, dim),
        mode="sum",
        per_sample_weights=shares.flatten(0, 2),
    )
    return mixed.view(batch, queries, heads * dim)


def _neighbours(place: Tensor, side: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The whole number below and above a place, kept inside 0..side - 1, and their shares (0 if outside)."""
    low = place.detach().floor()
    share = place - low
    first, second = low.clamp(min=0).minimum(side - 1), (low + 1).clamp(min=0).minimum(side - 1)
    return (
        (first.int(), (1 - share) * (first == low)),
        (second.int(), share * (second == low + 1)),
    )


def reference_points(shapes: Sequence[Shape], like: Tensor) -> Tensor:
    """(N, 2) (x, y) of every pixel's centre as shares of its own level, levels one after the other."""
    levels = []
    for rows, cols in shapes:
        y = (torch.arange(rows, device=like.device, dtype=torch.float32) + 0.5) / rows
        x = (torch.arange(cols, device=like.device, dtype=torch.float32) + 0.5) / cols
        levels.append(torch.stack([x.expand(rows, cols), y[:, None].expand(rows, cols)], -1).view(-1, 2))
    return torch.cat(levels)


class DeformableAttention(nn.Module):
    """Deformable attention with learned offsets and weights; key names as published.

    Parameters
    ----------
    dim : width of queries and values, a multiple of ``heads``
    heads, levels, points : attention heads, maps, and places per map and head
    """

    def __init__(self, dim: int, heads: int = 8, levels: int = 3, points: int = 4) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = Linear(dim, heads * levels * points * 2)
        self.attention_weights = Linear(dim, heads * levels * points)
        self.value_proj = Linear(dim, dim)
        self.output_proj = Linear(dim, dim)
        self._start()

    def forward(self, query: Tensor, source: Tensor, reference: Tensor, shapes: Sequence[Shape]) -> Tensor:
        """Attention of ``query`` over ``source``.

        Parameters
        ----------
        query : (B, Q, C); source : (B, N, C)
        reference : (Q, 2) or (B, Q, L, 2), places (x, y) as shares
        shapes : (rows, cols) of each level of ``source``

        Returns
        -------
        (B, Q, C)
        """
        batch, count, dim = query.shape
        offset_x, offset_y = self.sampling_offsets(query).float().view(batch, count, -1, 2).unbind(-1)
        weights = self.attention_weights(query).float().view(batch, count, self.heads, -1).softmax(-1)
        rows, cols = _sides(shapes, self.heads, self.points, query.device)
        x, y = reference.unbind(-1)
        if reference.ndim == 2:
            x, y = x[:, None], y[:, None]
        else:
            x, y = (axis.repeat_interleave(self.points, -1).repeat(1, 1, self.heads) for axis in (x, y))
        value = self.value_proj(source).view(batch, -1, self.heads, dim // self.heads)
        mixed = _weighted_rows(
            value,
            shapes,
            y * rows + (offset_y - 0.5),
            x * cols + (offset_x - 0.5),
            weights.flatten(2),
            self.points,
        )
        out: Tensor = self.output_proj(mixed)
        return out

    @torch.no_grad()
    def _start(self) -> None:
        """Offsets in a star, one direction per head and one pixel further per point; equal weights."""
        nn.init.zeros_(self.sampling_offsets.weight)
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        angles = torch.arange(self.heads) * (2 * math.pi / self.heads)
        star = torch.stack([angles.cos(), angles.sin()], -1)
        star = star / star.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, self.points + 1)
        offsets = star[:, None, None] * steps[:, None]
        self.sampling_offsets.bias.copy_(offsets.expand(-1, self.levels, -1, -1).reshape(-1))
