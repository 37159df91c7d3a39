"""The simple feature pyramid and the MLP head of SimpleClick and CFR-ICL; key names as published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_iseg.nn.exact import exact
from napari_iseg.nn.fused import PatchConv, PointConv, point_conv

UPSAMPLE = {"x1": 1, "x2": 2, "x4": 4}


class MapNorm(nn.GroupNorm):
    """Group norm with one group: mean and variance of a sample's whole map, weight and bias per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__(1, channels)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, h, w) -> same."""
        if input.device.type != "cpu" or not input.is_contiguous(memory_format=torch.channels_last):
            return super().forward(input)
        # torch's own kernel for this memory layout sums naively and loses digits on maps with rare large
        # values (1e-3 in the logits of an x4 head). Layer norm takes its statistics stably, but knows one
        # thread per row: so it is given pixels where it may be, and the map as one row where gradients count.
        last = input.permute(0, 2, 3, 1)
        if torch.is_grad_enabled() or input.dtype.itemsize < 4:
            rows = last.flatten(1)
            normal = F.layer_norm(rows, rows.shape[1:], eps=self.eps).view(last.shape).permute(0, 3, 1, 2)
            return (normal * self.weight[:, None, None]).add_(self.bias[:, None, None])
        mean, variance = _moments(last)
        scale = self.weight * (variance + self.eps).rsqrt()[:, None]
        shift = self.bias - mean[:, None] * scale
        moved = torch.addcmul(shift[:, None, None], last, scale[:, None, None])
        return moved.permute(0, 3, 1, 2)


def _moments(last: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance (B,) of maps (B, h, w, C), put together from those of their pixels."""
    tiny = torch.finfo(last.dtype).tiny  # a pixel of one value has a variance too
    _, means, scales = torch.native_layer_norm(last, last.shape[-1:], None, None, tiny)
    variance, mean = torch.var_mean(means.flatten(1), 1, correction=0)
    return mean, variance + scales.flatten(1).pow(-2).mean(1)


def add_resized(total: Tensor, level: Tensor) -> Tensor:
    """``total`` plus ``level`` resized to it, bilinear, corners not aligned; may overwrite ``total``.

    (B, C, H, W) and (B, C, h, w) -> (B, C, H, W). For inference on a CPU, channels last, resizing is two
    products with the interpolation matrices of rows and columns, the second of which adds up; torch's own
    kernel takes up to five times as long.
    """
    size = total.shape[-2:]
    last = torch.channels_last
    plain = torch.is_grad_enabled() or total.device.type != "cpu" or total.dtype != level.dtype
    if plain or not all(x.is_contiguous(memory_format=last) for x in (total, level)):
        return total + F.interpolate(level, size=size, mode="bilinear", align_corners=False)
    batch, channels, high, wide = level.shape
    down, across = (_interpolation(n, m, total) for n, m in zip((high, wide), size, strict=True))
    out = total.permute(0, 2, 3, 1).view(batch * size[0], size[1], channels)
    with exact(total):  # in the maps' own format
        rows = down @ level.permute(0, 2, 3, 1).reshape(batch, high, wide * channels)
        out.baddbmm_(across.expand(len(out), *across.shape), rows.view(len(out), wide, channels))
    return total


def _interpolation(inner: int, outer: int, like: Tensor) -> Tensor:
    """The matrix (outer, inner) that resizes a line, linear with corners not aligned."""
    eye = torch.eye(inner, dtype=like.dtype, device=like.device)
    return F.interpolate(eye[None], size=outer, mode="linear", align_corners=False)[0].T.contiguous()


class SimplePyramid(nn.Module):
    """From one map at 1/patch, maps at 4, 2, 1 and 1/2 times its resolution.

    Parameters
    ----------
    dim : channels of the input
    widths : channels of the four outputs, finest first
    """

    def __init__(self, dim: int, widths: Sequence[int]) -> None:
        super().__init__()
        first = max(2 * widths[0], dim // 2)
        self.down_4 = nn.Sequential(
            nn.ConvTranspose2d(dim, first, 2, stride=2),
            MapNorm(first),
            nn.GELU(),
            nn.ConvTranspose2d(first, first // 2, 2, stride=2),
            MapNorm(first // 2),
            PointConv(first // 2, widths[0]),
            MapNorm(widths[0]),
            nn.GELU(),
        )
        middle = max(widths[1], dim // 2)
        self.down_8 = nn.Sequential(  # no GELU after the first norm: so it was published
            nn.ConvTranspose2d(dim, middle, 2, stride=2),
            MapNorm(middle),
            PointConv(middle, widths[1]),
            MapNorm(widths[1]),
            nn.GELU(),
        )
        self.down_16 = nn.Sequential(PointConv(dim, widths[2]), MapNorm(widths[2]), nn.GELU())
        last = max(widths[3], 2 * dim)
        self.down_32 = nn.Sequential(
            PatchConv(dim, last, 2),
            MapNorm(last),
            PointConv(last, widths[3]),
            MapNorm(widths[3]),
            nn.GELU(),
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, dim, h, w) -> four maps (B, widths[i], ...) of 4, 2, 1 and 1/2 times h x w."""
        return [self.down_4(x), self.down_8(x), self.down_16(x), self.down_32(x)]


class _Conv(nn.Module):
    """A 1x1 convolution under the published name ``conv``; the ReLU after it is applied by the head."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv


def _up_conv(channels: int) -> nn.Sequential:
    half = channels // 2
    return nn.Sequential(
        nn.ConvTranspose2d(channels, half, 2, stride=2),
        MapNorm(half),
        PointConv(half, half),
        MapNorm(half),
        nn.GELU(),
    )


class MlpHead(nn.Module):
    """One logit map from a feature pyramid.

    Parameters
    ----------
    widths : channels of the pyramid's maps, finest first
    channels : width of the last layer
    upsample : "x1", "x2" or "x4": how much finer than the pyramid's finest map the logits are
    """

    def __init__(self, widths: Sequence[int], channels: int, upsample: str) -> None:
        super().__init__()
        self.channels = channels
        outer = channels * UPSAMPLE[upsample]
        self.convs = nn.ModuleList(_Conv(PointConv(width, outer)) for width in widths)
        self.fusion_conv = _Conv(nn.Conv2d(len(widths) * outer, outer, 1))
        self.up_conv1 = _up_conv(outer) if outer > channels else nn.Identity()
        self.up_conv2 = _up_conv(outer // 2) if outer > 2 * channels else nn.Identity()
        self.dropout = nn.Dropout2d(0.1)
        self.conv_seg = PointConv(channels, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (B, widths[i], h_i, w_i) -> logits (B, 1, u * h_0, u * w_0) with u = 1, 2 or 4.

        The published head resizes every level to the finest, concatenates, and mixes with a 1x1 convolution.
        Resizing and a 1x1 convolution commute, so each level is mixed at its own size by its share of the
        weights and the results are added up: the same sum with a third of the work and no concatenated map.
        """
        fuse = self.fusion_conv.conv
        shares = fuse.weight.chunk(len(maps), 1)
        mixed: Tensor | None = None
        for i, (level, share) in enumerate(zip(maps, shares, strict=True)):
            conv = cast("PointConv", self.convs[i].conv)
            part = point_conv(conv(level, relu=True), share, fuse.bias if i == 0 else None)
            mixed = part if mixed is None else add_resized(mixed, part)
        assert mixed is not None  # maps are never empty; for the type checker
        x = self.up_conv2(self.up_conv1(F.relu(mixed, inplace=True)))
        logits: Tensor = self.conv_seg(self.dropout(x))
        return logits
