"""NoC during training: the click protocol on a few objects of each set's held-out pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_iseg import backends
from napari_iseg.backends.base import ClickNet
from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.model import Model
from napari_iseg.evaluation.datasets import Dataset
from napari_iseg.evaluation.protocol import evaluate
from napari_iseg.training.held_out import scored_sets
from napari_iseg.training.recipe import Recipe


def validated_model(recipe: Recipe, net: ClickNet) -> Model:
    """The network in evaluation mode, run as the recipe's card will have it run."""
    card = ModelCard(
        recipe.name,
        recipe.backend,
        recipe.variant,
        prompts=tuple(sorted(backends.get(recipe.backend).prompts)),
        inference=recipe.inference,
    )
    return Model(card, net.eval(), device=str(next(net.parameters()).device), precision="float32")


class NocValidator:
    """Mean over sets of NoC@85 and of the IoU after the last click."""

    def __init__(self, recipe: Recipe, sets: Sequence[Dataset]) -> None:
        self.recipe = recipe
        self.sets = scored_sets(recipe, sets)

    def __call__(self, net: ClickNet, step: int) -> dict[str, float]:
        """Scores of ``net``: ``noc`` and ``iou``, and ``score``, the NoC again: what training minimises."""
        del step
        recipe = self.recipe
        training = net.training
        model = validated_model(recipe, net)
        reports = [
            evaluate(
                model,
                data,
                recipe.validation.max_clicks,
                max_objects=recipe.validation.objects,
                max_objects_per_image=4,
                seed=recipe.validation.seed,
            )
            for data in self.sets
        ]
        net.train(training)
        noc = float(np.mean([report.noc(0.85) for report in reports]))
        return {
            "score": noc,
            "noc": noc,
            "iou": float(np.mean([report.curve()[-1] for report in reports])),
        }
