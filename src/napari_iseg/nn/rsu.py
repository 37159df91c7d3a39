"""Residual U-blocks of U2-Net and IS-Net: a small U-Net inside one stage; key names as published."""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FLAT_DILATIONS: Final = (1, 2, 4, 8)  # of the blocks without pooling, down to the middle


class ConvUnit(nn.Module):
    """3x3 convolution, batch norm, ReLU; ``folded`` leaves the norm to the convolution's weights."""

    def __init__(self, inputs: int, outputs: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv_s1 = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation)
        self.bn_s1: nn.Module = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        return F.relu(self.bn_s1(self.conv_s1(x)), inplace=True)


class ResidualUBlock(nn.Module):
    """RSU-L of U2-Net (Qin et al. 2020), L = ``depth``: pools ``depth`` - 2 times and comes back up.

    Parameters
    ----------
    depth : number of units on the way down, 4 to 7
    inputs, middle, outputs : channels
    """

    def __init__(self, depth: int, inputs: int, middle: int, outputs: int) -> None:
        super().__init__()
        self.depth = depth
        self.rebnconvin = ConvUnit(inputs, outputs)
        for level in range(1, depth + 1):
            unit = ConvUnit(outputs if level == 1 else middle, middle, 2 if level == depth else 1)
            self.add_module(f"rebnconv{level}", unit)
        for level in range(depth - 1, 0, -1):
            unit = ConvUnit(2 * middle, outputs if level == 1 else middle)
            self.add_module(f"rebnconv{level}d", unit)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        whole: Tensor = self.rebnconvin(x)
        maps: list[Tensor] = []
        inner: Tensor = whole
        for level in range(1, self.depth):
            if level > 1:
                inner = pooled(inner)
            inner = self.get_submodule(f"rebnconv{level}")(inner)
            maps.append(inner)
        inner = self.get_submodule(f"rebnconv{self.depth}")(inner)
        for level in range(self.depth - 1, 0, -1):
            skip = maps.pop()
            inner = self.get_submodule(f"rebnconv{level}d")(torch.cat([enlarged(inner, skip), skip], 1))
        return inner + whole


class FlatUBlock(nn.Module):
    """RSU-4F: dilations 1, 2, 4, 8 instead of pooling.

    Parameters
    ----------
    inputs, middle, outputs : channels
    """

    def __init__(self, inputs: int, middle: int, outputs: int) -> None:
        super().__init__()
        self.rebnconvin = ConvUnit(inputs, outputs)
        for level, dilation in enumerate(_FLAT_DILATIONS, 1):
            self.add_module(f"rebnconv{level}", ConvUnit(outputs if level == 1 else middle, middle, dilation))
        for level in (3, 2, 1):
            unit = ConvUnit(2 * middle, outputs if level == 1 else middle, _FLAT_DILATIONS[level - 1])
            self.add_module(f"rebnconv{level}d", unit)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        whole: Tensor = self.rebnconvin(x)
        maps: list[Tensor] = []
        inner: Tensor = whole
        for level in (1, 2, 3):
            inner = self.get_submodule(f"rebnconv{level}")(inner)
            maps.append(inner)
        inner = self.get_submodule("rebnconv4")(inner)
        for level in (3, 2, 1):
            inner = self.get_submodule(f"rebnconv{level}d")(torch.cat([inner, maps.pop()], 1))
        return inner + whole


def pooled(x: Tensor) -> Tensor:
    """Half the size, rounded up: the largest of 2 x 2."""
    return F.max_pool2d(x, 2, stride=2, ceil_mode=True)


def enlarged(x: Tensor, like: Tensor) -> Tensor:
    """``x`` resized to the size of ``like``, bilinear; untouched where it has it already."""
    if x.shape[-2:] == like.shape[-2:]:
        return x
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)
