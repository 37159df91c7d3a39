"""Validation of IS5Net and its GT encoder on fixed samples of held-out pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_iseg.evaluation.datasets import Dataset
from napari_iseg.evaluation.dis_metrics import boundary_iou, f_curve, mask_iou
from napari_iseg.training.bank import picture
from napari_iseg.training.edge_samples import draw_sample, sample_options
from napari_iseg.training.held_out import check_scored
from napari_iseg.training.recipe import Recipe

_TRIES = 20


class EdgeValidator:
    """Scores of refined masks beside those of the coarse masks they came from."""

    def __init__(self, recipe: Recipe, sets: Sequence[Dataset]) -> None:
        self.samples = held_out_samples(recipe, sets)

    def __call__(self, net: Any, step: int) -> dict[str, float]:
        """``score`` = 1 - mean boundary IoU, ``boundary_iou``, ``iou``, and ``coarse_boundary_iou``."""
        del step
        training = net.training
        net.eval()
        device = next(net.parameters()).device
        bands, overlaps, before = [], [], []
        with torch.no_grad():
            for sample in self.samples:
                given = [sample[name][None].to(device) for name in ("image", "mask", "box")]
                found = (net.answer(*given)[0, 0] > 0.5).cpu().numpy()
                truth, coarse = _plane(sample["truth"]), _plane(sample["mask"])
                bands.append(boundary_iou(found, truth))
                overlaps.append(mask_iou(found, truth))
                before.append(boundary_iou(coarse, truth))
        net.train(training)
        score = float(np.mean(bands))
        return {
            "score": 1 - score,
            "boundary_iou": score,
            "iou": float(np.mean(overlaps)),
            "coarse_boundary_iou": float(np.mean(before)),
        }


class TruthValidator:
    """How well the GT encoder gives true masks back."""

    def __init__(self, recipe: Recipe, sets: Sequence[Dataset]) -> None:
        self.samples = held_out_samples(recipe, sets)

    def __call__(self, net: Any, step: int) -> dict[str, float]:
        """``score`` = 1 - ``max_f``, the mean over masks of the largest F-measure."""
        del step
        training = net.training
        net.eval()
        device = next(net.parameters()).device
        with torch.no_grad():
            maps = [net(sample["truth"][None].to(device))[0][0, 0].cpu().numpy() for sample in self.samples]
        net.train(training)
        pairs = zip(maps, self.samples, strict=True)
        best = float(np.mean([f_curve(one.astype(np.float64), _plane(s["truth"])).max() for one, s in pairs]))
        return {"score": 1 - best, "max_f": best}


def held_out_samples(recipe: Recipe, sets: Sequence[Dataset]) -> list[dict[str, Tensor]]:
    """``recipe.validation.objects`` samples per set, the same at every call, with mask and box, unvaried.

    Raises
    ------
    InputError
        When there is none.
    """
    plain = replace(sample_options(recipe), drop_mask=0.0, drop_box=0.0, vary=0.0)
    wanted = recipe.validation.sets
    samples: list[dict[str, Tensor]] = []
    for data in sets:
        if wanted and data.name not in wanted:
            continue
        items = list(data)
        made: list[dict[str, Tensor]] = []
        for attempt in range(_TRIES * recipe.validation.objects):
            if len(made) == recipe.validation.objects or not items:
                break
            rng = np.random.default_rng((recipe.validation.seed, attempt))
            item = items[int(rng.integers(len(items)))]
            source = picture(item.image(), item.targets())
            sample = draw_sample(source, plain, rng) if source is not None else None
            if sample is not None:
                made.append(sample)
        samples.extend(made)
    check_scored(recipe, samples)
    return samples


def _plane(channel: Tensor) -> Any:
    return channel[0].numpy() > 0.5
