"""The sine code of a place on a map (as in DETR and Mask2Former), computed once per map size."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_CACHED_SIZES = 12  # codes kept: three levels of a few input sizes


class SineCode:
    """``dim / 2`` features of the row, then as many of the column; sine and cosine alternate.

    Rows 1..n are divided by n and multiplied by 2 pi, so that maps of any size use the same range; the
    frequencies fall from 1 to 1 / 10000.

    Parameters
    ----------
    dim : features, a multiple of 4
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._codes: dict[tuple[int, int, torch.device], Tensor] = {}

    def __call__(self, rows: int, cols: int, device: torch.device) -> Tensor:
        """(rows * cols, dim) float32, raster order; cached."""
        key = (rows, cols, device)
        held = self._codes.get(key)
        if held is not None:
            return held
        with torch.inference_mode(False), torch.no_grad():
            down, across = self._axis(rows, device), self._axis(cols, device)
            half = self.dim // 2
            pair = [down[:, None].expand(rows, cols, half), across[None].expand(rows, cols, half)]
            code = torch.cat(pair, -1).view(rows * cols, self.dim)
        kept = list(self._codes.items())[1 - _CACHED_SIZES :]
        self._codes = {**dict(kept), key: code}  # replaced as a whole: other threads may be reading
        return code

    def _axis(self, count: int, device: torch.device) -> Tensor:
        """(count, dim / 2)."""
        half = self.dim // 2
        place = torch.arange(1, count + 1, dtype=torch.float32, device=device)
        place = place / (count + 1e-6) * (2 * math.pi)
        exponent = (
            2
            * torch.div(torch.arange(half, dtype=torch.float32, device=device), 2, rounding_mode="floor")
            / half
        )
        angle = place[:, None] / (10000.0**exponent)
        return torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], -1).flatten(1)
