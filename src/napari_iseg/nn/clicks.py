"""Click maps: how clicks become pictures that a network can read."""

from __future__ import annotations

import torch
from torch import Tensor

PUBLISHED_RADIUS = 5.0


def click_disks(clicks: Tensor, height: int, width: int, radius: float = PUBLISHED_RADIUS) -> Tensor:
    """Binary disks around the clicks, hard-edged, as in RITM, SimpleClick and CFR-ICL.

    Parameters
    ----------
    clicks : (B, 2N, 3) float, rows (row, col, order): N positive, then N negative. A row whose larger
        coordinate is negative is unused, so a click at (-0.5, 3) still counts. Fractions are not rounded.
    height, width : of the maps, in the pixels that the clicks are measured in
    radius : a pixel is set when its centre is at most this far from a click

    Returns
    -------
    (B, 2, height, width) float32 of 0 and 1: positive clicks, negative clicks
    """
    signed = clicks.view(clicks.shape[0], 2, -1, clicks.shape[2])
    unused = signed[..., :2].amax(-1) < 0
    rows = torch.arange(height, device=clicks.device, dtype=torch.float32)
    cols = torch.arange(width, device=clicks.device, dtype=torch.float32)
    # Differences in the clicks' own precision: a pixel may lie exactly on the radius.
    row_squared = (rows - signed[..., 0:1]).float().square().masked_fill(unused[..., None], float("inf"))
    col_squared = (cols - signed[..., 1:2]).float().square()
    # One click at a time: the maps stay in the cache, and memory does not grow with the number of clicks.
    nearest = row_squared.new_full((clicks.shape[0], 2, height, width), float("inf"))
    for i in range(signed.shape[2]):
        torch.minimum(nearest, row_squared[:, :, i, :, None] + col_squared[:, :, i, None, :], out=nearest)
    return (nearest <= radius * radius).float()
