"""What a prompt says of every place, before anything is learned: maps, and a rule fitted to the prompt.

Ours, for small networks trained on little data. What is object is bright in one picture and dark in the
next, so "inside the box it looks like this" must be worked out for each prompt anew; attention learns that
only from millions of masks. Here a ridge regression, in closed form and with gradients, tells what lies
inside the box, under the clicks or in the mask before from what does not.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_iseg.nn.exact import exact

STRIDE = 4  # pixels of the square per cell of the maps
MAPS = 7
# What each map says by itself at the start of training, as a logit: rule, ellipse, box, mask before, object
# clicks, background clicks, whether there is a mask before.
MEANING = (1.5, 1.0, 0.5, 2.0, 2.0, -2.0, 0.0)
_RIDGE = 0.1  # penalty in units of the features' variance
_UNDER_CLICK, _NEAR_CLICK = 8.0, 5.0  # pixels: what a click stands for in the rule, and its disk
_FAR = 0.35  # of the square's side: from here on a lone click says nothing is its object
_SURE = 0.5  # of the ellipse's radius, from the middle: certainly object, for the rule
_MOST = 3.0


def prompt_maps(
    features: Tensor, points: Tensor, labels: Tensor, boxes: Tensor | None, memory: Tensor | None
) -> Tensor:
    """The maps (B, 7, g, g) of prompts.

    Parameters
    ----------
    features : (B, D, g, g) what the rule may look at, in cells of `STRIDE` pixels
    points, labels, boxes : as in `PromptNet.decode`, in pixels of the square, (x, y)
    memory : (B, 1, any, any) logits of an earlier answer to the whole square, or None
    """
    count, _, grid, _ = features.shape
    places = (torch.arange(grid, device=features.device, dtype=torch.float32) + 0.5) * STRIDE
    near, away = (_nearest(places, points, labels == sign).clamp(max=2 * grid * STRIDE) for sign in (1, 0))
    zero = features.new_zeros(count, grid, grid, dtype=torch.float32)
    radius, inside = (zero, zero) if boxes is None else _box(places, boxes)
    before = zero
    if memory is not None:
        before = 2 * F.interpolate(memory.float(), (grid, grid), mode="area")[:, 0].sigmoid() - 1
    with torch.no_grad():
        yes, no = _evidence(near, away, radius, inside, before, boxes is not None, memory is not None)
    with exact(features):
        rule = _fitted(features.float(), yes, no).clamp(-_MOST, _MOST)
    ellipse = zero if boxes is None else (1.5 - radius).clamp(-2, 1)
    box = zero if boxes is None else 2 * inside - 1
    disks = [(_NEAR_CLICK - distance).clamp(0, 1) for distance in (near, away)]
    known = torch.full_like(zero, float(memory is not None))
    return torch.stack([rule, ellipse, box, before, *disks, known], 1)


def _nearest(places: Tensor, points: Tensor, chosen: Tensor) -> Tensor:
    """Distance (B, g, g) of each cell from the nearest of the chosen points (B, N, 2); inf without one."""
    if not points.shape[1]:
        return places.new_full((len(points), len(places), len(places)), float("inf"))
    cols = (places - points[..., :1]).square()  # (B, N, g)
    rows = (places - points[..., 1:]).square()
    squared = (rows[..., :, None] + cols[..., None, :]).masked_fill(~chosen[..., None, None], float("inf"))
    return squared.amin(1).sqrt()


def _box(places: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Radius (B, g, g) in units of the ellipse that fills the box, and 1 where a cell lies in the box."""
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).clamp(min=STRIDE) / 2
    cols = ((places - middle[:, :1]) / half[:, :1]).abs()[:, None]
    rows = ((places - middle[:, 1:]) / half[:, 1:]).abs()[:, :, None]
    inside = (rows <= 1) & (cols <= 1)
    return (rows.square() + cols.square()).sqrt().clamp(max=10), inside.float()


def _evidence(
    near: Tensor, away: Tensor, radius: Tensor, inside: Tensor, before: Tensor, boxed: bool, known: bool
) -> tuple[Tensor, Tensor]:
    """Weights (B, g, g) of cells as object and as background; those of a prompt sum to one on either side."""
    yes, no = near.new_zeros(near.shape), near.new_zeros(near.shape)
    if known:
        yes, no = yes + _share(before > 0.2), no + _share(before < -0.2)
    elif boxed:
        yes = yes + _share((radius < _SURE + 0.4) & (inside > 0)) + _share(radius < _SURE)
    if boxed:
        no = no + _share(inside < 0.5)
    clicked = near < _UNDER_CLICK
    yes = yes + _share(clicked)
    no = no + _share(away < _UNDER_CLICK)
    if not boxed and not known:
        no = no + 0.3 * _share(near > _FAR * STRIDE * near.shape[-1])
    return _normalised(yes), _normalised(no)


def _share(chosen: Tensor) -> Tensor:
    """The chosen cells, each prompt's with a sum of one; zeros where there is none."""
    weight = chosen.float()
    return weight / weight.sum((1, 2), keepdim=True).clamp(min=1)


def _normalised(weight: Tensor) -> Tensor:
    return weight / weight.sum((1, 2), keepdim=True).clamp(min=1e-6)


def _fitted(features: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """The rule's answer (B, g, g): about 1 on the object, -1 beside it; 0 where one side has no cell."""
    rows = features.flatten(2)  # (B, D, N)
    weight, target = (yes + no).flatten(1) / 2, (yes - no).flatten(1) / 2
    middle = (rows @ weight[..., None]) / weight.sum(1).clamp(min=1e-6)[:, None, None]
    centred = rows - middle
    spread = (centred * weight[:, None]) @ centred.transpose(1, 2)
    scale = spread.diagonal(dim1=1, dim2=2).clamp(min=1e-8).sqrt() + 1e-3 * middle[..., 0].abs() + 1e-4
    shared = spread / (scale[:, :, None] * scale[:, None])
    penalty = _RIDGE * torch.eye(rows.shape[1], device=rows.device, dtype=rows.dtype)
    kernel = torch.linalg.solve(shared + penalty, (centred @ target[..., None]) / scale[..., None])
    kernel = kernel / scale[..., None]
    answer = (kernel.transpose(1, 2) @ centred)[:, 0]
    both = (yes.flatten(1).sum(1) > 0.5) & (no.flatten(1).sum(1) > 0.5)
    found: Tensor = (answer * both[:, None]).view(yes.shape)
    return found
