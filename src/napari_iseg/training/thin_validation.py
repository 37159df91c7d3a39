"""Validation of the network for thin structures: the click protocol with its rule alone."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.thin_model import Seen, ThinModel
from napari_iseg.evaluation.datasets import Dataset
from napari_iseg.evaluation.protocol import evaluate
from napari_iseg.prompts import Click
from napari_iseg.training.bank import to_rgb8
from napari_iseg.training.held_out import scored_sets
from napari_iseg.training.recipe import Recipe


class ThinMethod:
    """A model for thin structures as a click method of its own: all pixels that its rule takes."""

    threshold = 0.5

    def __init__(self, model: ThinModel) -> None:
        self.model = model
        self.name = model.card.name
        self._image: npt.NDArray[Any] | None = None
        self._seen: Seen | None = None
        self._clicks: list[Click] = []

    def start(self, image: npt.NDArray[Any]) -> None:
        """Begin a new object; a picture is looked at once for all its objects."""
        if self._image is not image:
            pixels = to_rgb8(image).astype(np.float32) / 255
            self._seen = self.model.look(torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, 2, 0))))
            self._image = image
        self._clicks = []

    def click(self, row: float, col: float, positive: bool) -> npt.NDArray[np.float32]:
        """The probability (H, W) after one more click."""
        assert self._seen is not None, "start() comes first"
        self._clicks.append(Click(row, col, positive))
        if not any(click.positive for click in self._clicks):
            return np.zeros(self._seen.shape, np.float32)
        return self.model.probability(self._seen, self._clicks)


class ThinValidator:
    """Mean over sets of the IoU after each click, mean over clicks."""

    def __init__(self, recipe: Recipe, sets: Sequence[Dataset]) -> None:
        self.recipe = recipe
        self.sets = scored_sets(recipe, sets)

    def __call__(self, net: Any, step: int) -> dict[str, float]:
        """``score`` = 1 - ``iou``, and the IoU of each set."""
        del step
        recipe = self.recipe
        card = ModelCard(recipe.name, recipe.backend, recipe.variant, prompts=("click",))
        device = next(net.parameters()).device
        model = ThinModel(card, deepcopy(net), device=str(device), precision="float32")
        found = {}
        for data in self.sets:
            report = evaluate(
                ThinMethod(model),
                data,
                recipe.validation.max_clicks,
                max_objects=recipe.validation.objects,
                max_objects_per_image=1,
                seed=recipe.validation.seed,
            )
            found[f"iou_{data.name}"] = float(np.mean(report.curve()[: recipe.validation.max_clicks]))
        mean = float(np.mean(list(found.values())))
        return {"score": 1 - mean, "iou": mean, **found}
