"""Validation of the network for small objects: the click protocol, with the click model that it helps."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np

from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.small_model import SmallModel
from napari_iseg.evaluation.datasets import Dataset
from napari_iseg.evaluation.protocol import evaluate
from napari_iseg.training.held_out import scored_sets
from napari_iseg.training.recipe import Recipe

_TARGET = 0.85  # IoU at which an object is done


class SmallValidator:
    """Mean over sets of the click model's NoC@85, with the network finishing its small objects.

    Parameters
    ----------
    model : the click model's name or file
    """

    def __init__(self, recipe: Recipe, sets: Sequence[Dataset], model: str) -> None:
        self.recipe = recipe
        self.sets = scored_sets(recipe, sets)
        self.model = model

    def __call__(self, net: Any, step: int) -> dict[str, float]:
        """``score`` = the mean NoC@85, and that of each set."""
        from napari_iseg.weights.store import load_click_model

        del step
        recipe, asked = self.recipe, self.recipe.validation
        card = ModelCard(recipe.name, recipe.backend, recipe.variant, prompts=())
        device = str(next(net.parameters()).device)
        model = load_click_model(self.model, device=device, precision="float32")
        model.helpers[recipe.name] = SmallModel(card, deepcopy(net), device=device, precision="float32")
        model = model.with_inference(small=recipe.name)
        found = {}
        for data in self.sets:
            report = evaluate(
                model,
                data,
                asked.max_clicks,
                max_objects=asked.objects,
                max_objects_per_image=4,
                seed=asked.seed,
                target_iou=_TARGET,
            )
            found[f"noc85_{data.name}"] = report.noc(_TARGET)
        return {"score": float(np.mean(list(found.values()))), **found}
