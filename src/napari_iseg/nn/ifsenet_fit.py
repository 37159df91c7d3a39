"""A pixel classifier fitted to the supports in closed form (ridge regression), through which gradients flow.

Ours: the encoder is trained so that a linear rule over its features, fitted to a few annotated images,
carries over to others (as R2-D2, arXiv 1805.08136, does for whole images). What a support adds to the normal
equations is a sum, so supports are joined by adding, whatever their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_iseg.nn.exact import exact
from napari_iseg.nn.ifsenet_match import to_cells
from napari_iseg.nn.ifsenet_parts import resize

_MOST = 3000  # cells of the label, of the background near it, and of the rest
_NEAR = 4  # cells around a label within which background counts as near
# Weights and targets of label and background; their mean is 0, so a rule that nothing speaks for says 0.
_FORE, _BACK, _YES, _NO = 1.0, 2.0, 1.0, -0.5


class Fit(NamedTuple):
    """A rule: ``kernel`` (D,) and ``bias`` (); about 1 on the label and -0.5 elsewhere."""

    kernel: Tensor
    bias: Tensor


def fit_moments(levels: Sequence[Tensor], inside: Tensor, outside: Tensor) -> Tensor:
    """What one support says of one label: weighted second moments (D + 2, D + 2) of (features, 1, target).

    Parameters
    ----------
    levels : (C_i, h_i, w_i) feature maps, the first of them the finest; D is the sum of C_i
    inside, outside : (H, W) float in [0, 1]: the label, and what is known not to be it
    """
    size = levels[0].shape[-2:]
    share, other = to_cells(inside, size), to_cells(outside, size)
    fore = share > 0.5
    if not fore.any() and bool(share.max() > 0.02):
        fore = share >= share.max()
    near = F.max_pool2d(fore.float()[None, None], 2 * _NEAR + 1, 1, _NEAR)[0, 0] > 0
    back = (other > 0.5) & ~fore
    groups = [(fore, _YES, _FORE), (back & near, _NO, _BACK / 2), (back & ~near, _NO, _BACK / 2)]
    width = sum(level.shape[0] for level in levels)
    moments = levels[0].new_zeros(width + 2, width + 2, dtype=torch.float32)
    for mask, target, weight in groups:
        cells = _spread(mask)
        if len(cells):
            rows = _rows(levels, cells).float()
            known = torch.cat([rows, rows.new_ones(len(rows), 1), rows.new_full((len(rows), 1), target)], 1)
            with exact(known):
                moments = moments + weight / len(rows) * (known.T @ known)
    return moments


def solve(moments: Sequence[Tensor], weights: Tensor, ridge: Tensor) -> Fit:
    """The rule that fits all supports best, each weighed by ``weights`` (k,).

    Features are standardised by the supports' own mean and spread; ``ridge`` () is the penalty in units of
    their variance.
    """
    total = torch.stack(list(moments)).mul(weights[:, None, None]).sum(0)
    count = total[-2, -2].clamp(min=1e-6)
    mean, target = total[:-2, -2] / count, total[-1, -2] / count
    spread = total[:-2, :-2] / count - torch.outer(mean, mean)
    scale = spread.diagonal().clamp(min=1e-8).sqrt() + 1e-3 * mean.abs() + 1e-4
    shared = spread / torch.outer(scale, scale)
    wanted = (total[:-2, -1] / count - mean * target) / scale
    penalty = ridge * torch.eye(len(mean), device=mean.device, dtype=mean.dtype)
    kernel = torch.linalg.solve(shared + penalty, wanted) / scale
    return Fit(kernel, target - (kernel * mean).sum())


def fit_map(levels: Sequence[Tensor], fit: Fit) -> Tensor:
    """The rule's answer (1, h, w) at the size of the first level."""
    answer, start = fit.bias, 0
    for level in levels:
        with exact(level):
            part = torch.einsum("c,chw->hw", fit.kernel[start : start + level.shape[0]], level.float())
        answer = answer + resize(part[None, None], levels[0].shape[-2:])[0, 0]
        start += level.shape[0]
    return answer[None]


def _spread(mask: Tensor) -> Tensor:
    """(N, 2) cells of a mask, at most ``_MOST``, evenly spread."""
    cells = torch.nonzero(mask)
    if len(cells) <= _MOST:
        return cells
    return cells[
        torch.linspace(0, len(cells) - 1, _MOST, device=cells.device, dtype=torch.float32).round().long()
    ]


def _rows(levels: Sequence[Tensor], cells: Tensor) -> Tensor:
    """(N, D): all levels at cells of the first one, bilinearly."""
    size = levels[0].new_tensor(levels[0].shape[-2:])
    grid = ((cells.float() + 0.5) / size * 2 - 1)[:, [1, 0]][None, :, None].to(levels[0].dtype)
    parts = [levels[0][:, cells[:, 0], cells[:, 1]].T]
    parts += [
        F.grid_sample(level[None], grid, align_corners=False, padding_mode="border")[0, :, :, 0].T
        for level in levels[1:]
    ]
    return torch.cat(parts, 1)
