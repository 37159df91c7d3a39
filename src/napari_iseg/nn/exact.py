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


def added(new: Tensor, old: Tensor) -> Tensor:
    """``new + old`` in the wider of their formats, and in the memory of ``new`` where that is its own.

    What runs through a network beside its layers is kept in float32 so, as under autocast without `add_`.
    """
    return new.add_(old) if new.dtype == old.dtype else new + old
