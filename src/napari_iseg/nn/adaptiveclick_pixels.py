"""AdaptiveClick's pixel decoder: a deformable encoder over three levels, and mask features at the finest.

Key names are the published ones, but for the second names under which published files hold the lateral and
the output convolution again (``adapter_1``, ``layer_1``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_iseg.nn.deformable import DeformableAttention, Shape, reference_points
from napari_iseg.nn.fpn import SimplePyramid
from napari_iseg.nn.fused import Linear, PointConv
from napari_iseg.nn.sine_code import SineCode

GROUPS = 32  # of the group norms
LEVELS = 3  # maps in the deformable encoder and in the click decoder


@dataclass(frozen=True)
class Level:
    """One map as tokens (B, rows * cols, C) in raster order, and its sine code (rows * cols, C)."""

    tokens: Tensor
    code: Tensor
    shape: Shape


class EncoderLayer(nn.Module):
    """Deformable self-attention and a feed-forward part, each followed by its norm."""

    def __init__(self, dim: int, hidden: int, heads: int, points: int) -> None:
        super().__init__()
        self.self_attn = DeformableAttention(dim, heads, LEVELS, points)
        self.norm1 = nn.LayerNorm(dim)
        self.linear1 = Linear(dim, hidden)
        self.linear2 = Linear(hidden, dim)
        self.norm2 = nn.LayerNorm(dim)
        for linear in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(linear.weight)

    def forward(self, tokens: Tensor, place: Tensor, reference: Tensor, shapes: Sequence[Shape]) -> Tensor:
        """(B, N, C) -> same; ``place`` (1 or B, N, C) is added to the queries only."""
        mixed = self.self_attn(tokens + place, tokens, reference, shapes)
        tokens = self.norm1(tokens + mixed)
        hidden = self.linear2(F.relu(self.linear1(tokens), inplace=True))
        out: Tensor = self.norm2(tokens + hidden)
        return out


class EncoderLayers(nn.Module):
    """The list of layers, under its published name."""

    def __init__(self, dim: int, hidden: int, count: int, heads: int, points: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(dim, hidden, heads, points) for _ in range(count))

    def forward(self, tokens: Tensor, place: Tensor, reference: Tensor, shapes: Sequence[Shape]) -> Tensor:
        """(B, N, C) -> same, see `EncoderLayer`."""
        for layer in self.layers:
            tokens = layer(tokens, place, reference, shapes)
        return tokens


class DeformableEncoder(nn.Module):
    """The encoder's layers over all levels at once, with a learned vector per level."""

    def __init__(self, dim: int, hidden: int, layers: int, heads: int, points: int) -> None:
        super().__init__()
        self.level_embed = nn.Parameter(torch.empty(LEVELS, dim))
        self.encoder = EncoderLayers(dim, hidden, layers, heads, points)
        nn.init.normal_(self.level_embed)

    def forward(self, levels: Sequence[Level]) -> list[Level]:
        """The levels with their tokens mixed."""
        shapes = [level.shape for level in levels]
        tokens = torch.cat([level.tokens for level in levels], 1)
        embed = self.level_embed.unbind(0)
        place = torch.cat([level.code + vector for level, vector in zip(levels, embed, strict=True)])[None]
        tokens = self.encoder(tokens, place, reference_points(shapes, tokens), shapes)
        parts = torch.split(tokens, [rows * cols for rows, cols in shapes], 1)
        return [Level(part, level.code, level.shape) for part, level in zip(parts, levels, strict=True)]


class PixelDecoder(nn.Module):
    """From a feature pyramid to three mixed levels and mask features.

    Parameters
    ----------
    widths : channels of the pyramid's maps, finest first (res2..res5)
    dim : width of everything after it, a multiple of 32
    hidden : of the encoder's feed-forward part
    layers : of the encoder
    trunk_dim : channels of the trunk's one map, from which the pyramid is made here; None: it is given
    heads, points : of the deformable attention; the published network's by default
    """

    def __init__(
        self,
        widths: Sequence[int],
        dim: int,
        hidden: int,
        layers: int,
        trunk_dim: int | None,
        *,
        heads: int = 8,
        points: int = 4,
    ) -> None:
        super().__init__()
        self.input_proj = nn.ModuleList(_convolution(width, dim) for width in reversed(widths[1:]))
        self.transformer = DeformableEncoder(dim, hidden, layers, heads, points)
        self.mask_features = PointConv(dim, dim)
        self.lateral_convs = nn.ModuleList([_convolution(widths[0], dim)])
        self.output_convs = nn.ModuleList(
            [nn.Sequential(nn.Conv2d(dim, dim, 3, padding=1), nn.GroupNorm(GROUPS, dim))]
        )
        self.neck = nn.Identity() if trunk_dim is None else SimplePyramid(trunk_dim, widths)
        self.code = SineCode(dim)

    def forward(self, features: Tensor | Sequence[Tensor]) -> tuple[list[Level], Tensor]:
        """Levels, coarsest first, and mask features.

        Parameters
        ----------
        features : (B, trunk_dim, h, w); without a neck the pyramid's four maps, finest first

        Returns
        -------
        levels : res5, res4, res3
        mask_features : (B, dim, rows, cols) of the pyramid's finest map
        """
        maps: Sequence[Tensor] = self.neck(features)
        projected = zip(self.input_proj, reversed(maps[1:]), strict=True)
        levels = self.transformer([self.level(project(level)) for project, level in projected])
        finest = F.relu(self.lateral_convs[0](maps[0]))
        middle = as_map(levels[-1])
        finest = finest + F.interpolate(middle, size=finest.shape[-2:], mode="bilinear", align_corners=False)
        return levels, self.mask_features(F.relu(self.output_convs[0](finest)))

    def level(self, features: Tensor) -> Level:
        """(B, C, h, w) as a level."""
        rows, cols = features.shape[-2:]
        return Level(
            features.flatten(2).transpose(1, 2), self.code(rows, cols, features.device), (rows, cols)
        )


def as_map(level: Level) -> Tensor:
    """(B, C, rows, cols), channels last in memory."""
    batch, _, dim = level.tokens.shape
    return level.tokens.reshape(batch, *level.shape, dim).permute(0, 3, 1, 2)


def _convolution(inner: int, outer: int) -> nn.Sequential:
    """A 1x1 convolution and a group norm."""
    convolution = PointConv(inner, outer)
    nn.init.xavier_uniform_(convolution.weight)
    return nn.Sequential(convolution, nn.GroupNorm(GROUPS, outer))
