"""How far a click reaches: Euclidean, geodesic and appearance distances as network inputs.

The idea of feeding distances that respect image edges is DeepIGeoS's (arXiv 1707.00652), their exponential
form
MIDeepSeg's (arXiv 2104.12166). All of it is batched tensor code, so that it runs where the network runs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FAR = 1e4  # larger than any distance inside a window; exp(-FAR) is 0


def euclidean(clicks: Tensor, height: int, width: int, stride: int) -> Tensor:
    """Distance to the nearest valid click.

    Parameters
    ----------
    clicks : (B, N, 3) rows (row, col, order) in input pixels; a row whose larger coordinate is below 0
        is unused
    height, width : size of the result
    stride : input pixels per result pixel

    Returns
    -------
    (B, height, width) float, input pixels; FAR where there is no click
    """
    centre = (stride - 1) / 2
    rows = torch.arange(height, device=clicks.device, dtype=clicks.dtype) * stride + centre
    cols = torch.arange(width, device=clicks.device, dtype=clicks.dtype) * stride + centre
    squared = (rows - clicks[..., 0:1])[..., :, None] ** 2 + (cols - clicks[..., 1:2])[..., None, :] ** 2
    unused = clicks[..., :2].amax(-1) < 0
    return squared.masked_fill(unused[..., None, None], FAR**2).amin(1).sqrt()


def sample_at(features: Tensor, clicks: Tensor, stride: int) -> Tensor:
    """Features (B, C, h, w) under clicks (B, N, 3): (B, N, C), bilinear, clamped to the border."""
    height, width = features.shape[-2:]
    centre = (stride - 1) / 2
    size = torch.tensor([width, height], device=clicks.device, dtype=clicks.dtype)
    xy = (clicks[..., [1, 0]] - centre) / stride
    grid = (2 * xy + 1) / size - 1
    sampled = F.grid_sample(features, grid[:, :, None], align_corners=False, padding_mode="border")
    return sampled[..., 0].transpose(1, 2)


def appearance(features: Tensor, clicks: Tensor, stride: int) -> Tensor:
    """Smallest feature distance of each pixel to any click: (B, h, w); FAR where there is no click."""
    centres = sample_at(features, clicks, stride)
    height, width = features.shape[-2:]
    pixels = features.flatten(2).transpose(1, 2)
    squared = (
        pixels.square().sum(-1)[:, None]
        + centres.square().sum(-1)[..., None]
        - 2 * torch.bmm(centres, pixels.transpose(1, 2))
    )
    unused = clicks[..., :2].amax(-1) < 0
    nearest = squared.clamp(min=0).masked_fill(unused[..., None], FAR**2).amin(1)
    return nearest.sqrt().view(-1, height, width)


class GeodesicDistance(torch.nn.Module):
    """Length of the cheapest 8-connected path to a seed, where crossing an edge of the image costs.

    A step of length l between two pixels whose features differ by f costs ``l * (spatial + f)``. Jacobi
    relaxation:
    after n sweeps every path of up to n steps has been seen, exact for seeds at most n pixels away.
    """

    _STEPS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))

    def __init__(self, sweeps: int = 48, spatial: float = 0.02) -> None:
        super().__init__()
        self.sweeps = sweeps
        self.spatial = spatial

    def forward(self, features: Tensor, seeds: Tensor) -> Tensor:
        """Distances of every pixel to the seeds.

        Parameters
        ----------
        features : (B, C, h, w) float
        seeds : (B, S, h, w) float, 0 on seeds and FAR elsewhere; S kinds of seeds share the features

        Returns
        -------
        (B, S, h, w) float, in units of feature difference
        """
        batch, kinds, height, width = seeds.shape
        padded = F.pad(features, (1, 1, 1, 1), mode="replicate")
        costs = []
        for dr, dc in self._STEPS:
            shifted = padded[..., 1 + dr : 1 + dr + height, 1 + dc : 1 + dc + width]
            length = (dr * dr + dc * dc) ** 0.5
            costs.append(length * (self.spatial + (features - shifted).square().sum(1, keepdim=True).sqrt()))
        cost = torch.stack(costs)  # (8, B, 1, h, w)
        field = torch.full(
            (batch, kinds, height + 2, width + 2), 2 * FAR, dtype=seeds.dtype, device=seeds.device
        )
        inner = field[..., 1:-1, 1:-1]
        inner.copy_(seeds)
        for _ in range(self.sweeps):
            around = torch.stack(
                [field[..., 1 + dr : 1 + dr + height, 1 + dc : 1 + dc + width] for dr, dc in self._STEPS]
            )
            inner.copy_(torch.minimum(inner, (around + cost).amin(0)))
        return inner.clone()
