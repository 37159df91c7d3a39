"""Validation of few-shot training: fixed episodes of held-out pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from napari_iseg.evaluation.datasets import Dataset
from napari_iseg.nn.ifsenet import IfseNet
from napari_iseg.training.episode_bank import EpisodeBank
from napari_iseg.training.episode_loss import query_logits
from napari_iseg.training.episode_samples import EpisodeOptions, EpisodeSamples
from napari_iseg.training.held_out import check_scored
from napari_iseg.training.recipe import Recipe


class EpisodeValidator:
    """Query IoU from true masks and from clicks, support IoU, false alarms on empty queries.

    Parameters
    ----------
    sets : held-out parts; ``recipe.validation.objects`` episodes of each
    """

    def __init__(self, recipe: Recipe, sets: Sequence[Dataset], options: EpisodeOptions) -> None:
        wanted = recipe.validation.sets
        # From here on, no augmentation: scores of different runs can be compared.
        options = replace(
            options, vary=0.0, superpixels=0.0, clicks=replace(options.clicks, erode_probability=1.0)
        )
        self.batches: list[dict[str, Tensor]] = []
        for number, data in enumerate(sets):
            if (wanted and data.name not in wanted) or next(data.objects(), None) is None:
                continue
            bank = EpisodeBank()
            bank.add_dataset(data, 1.0)
            if not any(series.annotated for series in bank.series):
                continue
            count = recipe.validation.objects
            samples = EpisodeSamples(bank, options, recipe.validation.seed + number, count)
            self.batches.append(default_collate([samples[i] for i in range(count)]))
        check_scored(recipe, self.batches)

    @torch.no_grad()
    def __call__(self, net: IfseNet, step: int) -> dict[str, float]:
        """``score`` (lower is better), ``iou`` (true support masks), ``iou_clicks``, ``alarm``."""
        del step
        training = net.training
        net.eval()
        scores: dict[str, list[float]] = {"iou": [], "iou_clicks": [], "alarm": []}
        for batch in self.batches:
            batch = {key: value.to(next(net.parameters()).device) for key, value in batch.items()}
            for name, given in (("iou", 1.0), ("iou_clicks", 0.0)):
                asked = {**batch, "support_given": torch.full_like(batch["support_given"], given)}
                logits, presence = query_logits(net, asked)
                mask = (logits > 0) & (presence > 0)[:, None, None, None]
                truth = batch["query_truth"] > 0.5
                common = (mask & truth).sum((1, 2, 3)).float()
                union = (mask | truth).sum((1, 2, 3)).float()
                here = truth.any(3).any(2)[:, 0]
                scores[name] += (common / union.clamp(min=1))[here].tolist()
                if given:
                    alarm = mask.float().mean((1, 2, 3)) > 0.001
                    scores["alarm"] += alarm[~here].float().tolist()
        net.train(training)
        means = {name: float(np.mean(values)) if values else 0.0 for name, values in scores.items()}
        return {"score": 1 - (means["iou"] + means["iou_clicks"]) / 2, **means}
