"""Arithmetic that half precision would ruin."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor


def exact(x: Tensor) -> AbstractContextManager[None]:
    """No autocast on the device of ``x``, for what is computed in float32 under a model of any precision.

    Positions in pixels, differences of squares, and small systems of equations need it: bfloat16 keeps three
    digits, and autocast multiplies matrices in it even if they are float32.
    """
    return torch.autocast(x.device.type, enabled=False)
