"""Layers that both paths of IFSENet are made of; GroupNorm, as batches are too small for other norms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def group_norm(channels: int) -> nn.GroupNorm:
    """Groups of about 8 channels, 32 at 256 channels."""
    groups = max(1, channels // 8)
    while channels % groups:
        groups -= 1
    return nn.GroupNorm(groups, channels)


class ConvNorm(nn.Sequential):
    """Convolution, group norm, ReLU; keeps the size at stride 1."""

    def __init__(
        self, inner: int, outer: int, kernel: int = 3, *, stride: int = 1, dilation: int = 1
    ) -> None:
        padding = dilation * (kernel // 2)
        super().__init__(
            nn.Conv2d(inner, outer, kernel, stride, padding, dilation, bias=False),
            group_norm(outer),
            nn.ReLU(),
        )


class Separable(nn.Sequential):
    """Depthwise 3x3 and pointwise convolution with group norm and ReLU."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__(
            nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False),
            nn.Conv2d(inner, outer, 1, bias=False),
            group_norm(outer),
            nn.ReLU(),
        )


class Residual(nn.Module):
    """Two 3x3 convolutions beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pair = nn.Sequential(
            ConvNorm(channels, channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            group_norm(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, h, w) -> same."""
        return F.relu(x + self.pair(x))


class Aspp(nn.Module):
    """Atrous spatial pyramid pooling (DeepLab v3) with an image-level branch."""

    def __init__(self, channels: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList([ConvNorm(channels, channels, 1)])
        self.branches.extend(ConvNorm(channels, channels, 3, dilation=rate) for rate in rates)
        # no norm behind the pooling: GroupNorm of one position would leave little of it
        self.image = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1), nn.ReLU())
        self.merge = ConvNorm(channels * (len(rates) + 2), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, h, w) -> same."""
        parts = [branch(x) for branch in self.branches]
        parts.append(self.image(x).expand_as(x))
        merged: Tensor = self.merge(torch.cat(parts, 1))
        return merged


class FineHead(nn.Module):
    """Coarse features joined with the stride-4 level: logits at stride 2 by pixel shuffle."""

    def __init__(self, channels: int, skip_channels: int) -> None:
        super().__init__()
        reduced = min(48, max(16, channels // 2))
        self.reduce = ConvNorm(skip_channels, reduced, 1)
        self.convs = nn.Sequential(Separable(channels + reduced, channels), Separable(channels, channels))
        self.out = nn.Conv2d(channels, 4, 1)
        with torch.no_grad():  # small at first, beside what is added to it
            self.out.weight.mul_(0.1)

    def forward(self, coarse: Tensor, skip: Tensor, extra: Tensor | None = None) -> Tensor:
        """(B, C, h, w) with (B, C1, 2h, 2w), and ``extra`` added to the reduced skip -> (B, 1, 4h, 4w)."""
        near = self.reduce(skip)
        if extra is not None:
            near = near + extra
        up = resize(coarse, near.shape[-2:])
        return F.pixel_shuffle(self.out(self.convs(torch.cat([up, near], 1))), 2)

    @property
    def skip_width(self) -> int:
        """Channels of the reduced skip, and of ``extra``."""
        return int(self.reduce[0].out_channels)  # type: ignore[arg-type]


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear, pixel centres aligned."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=(int(size[0]), int(size[1])), mode="bilinear", align_corners=False)
