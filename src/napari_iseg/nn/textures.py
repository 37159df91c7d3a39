"""Colour, spread and edges of an image at half size: what a small encoder forgets and fine masks need."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TEXTURES = 15


def textures(image: Tensor) -> Tensor:
    """(B, 15, H/2, W/2) of (B, 3, H, W): colour at three scales, spread of grey at two, edges at four."""
    half = F.avg_pool2d(image, 2)
    grey = half.mean(1, keepdim=True)
    parts = [half, _smooth(half, 5), _smooth(half, 13)]
    for width in (5, 13):
        parts.append((_smooth(grey.square(), width) - _smooth(grey, width).square()).clamp(min=0).sqrt())
    for width in (1, 3, 7):
        parts.append(_gradient(_smooth(grey, width)))
    parts.append(_smooth(parts[-3], 9))
    return torch.cat(parts, 1)


def _smooth(x: Tensor, width: int) -> Tensor:
    """Box mean over ``width`` cells, borders repeated."""
    if width == 1:
        return x
    reach = width // 2
    padded = F.pad(x, (reach, reach, reach, reach), mode="replicate")
    return F.avg_pool2d(padded, width, 1)


def _gradient(grey: Tensor) -> Tensor:
    padded = F.pad(grey, (1, 1, 1, 1), mode="replicate")
    down = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    right = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    return (down.square() + right.square()).sqrt()
