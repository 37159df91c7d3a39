"""Training of the network for small objects: games that a click model has begun are played on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy import ndimage as ndi
from torch import Tensor, nn

from napari_iseg import backends
from napari_iseg.evaluation.datasets import Dataset
from napari_iseg.training.bank import Bank
from napari_iseg.training.clicks import Draw, add_click
from napari_iseg.training.load import OnSet, Sets
from napari_iseg.training.recipe import Recipe
from napari_iseg.training.small_games import SmallBank
from napari_iseg.training.small_samples import SmallSamples, sample_options
from napari_iseg.training.small_validation import SmallValidator
from napari_iseg.training.task import Step, Task, Terms, Validate

WEIGHTS: Final[Mapping[str, float]] = MappingProxyType({"cross_entropy": 0.5, "jaccard": 1.0})
_FREE: Final = 4  # at most so many clicks are made without gradient first
_COUNTED: Final = 3  # clicks whose answers count


class SmallTask(Task):
    """The backend "small"."""

    def build(self, recipe: Recipe) -> nn.Module:
        """The recipe's network, or its start."""
        net: nn.Module = backends.build(recipe.backend, recipe.variant)
        if recipe.start:
            from napari_iseg.weights.store import load_net

            net.load_state_dict(load_net(recipe.start)[1].state_dict())
        return net

    def bank(self, recipe: Recipe, sets: Sets, on_set: OnSet | None = None) -> SmallBank:
        """Games on the small objects of the training parts."""
        from napari_iseg.weights.store import load_click_model

        options = sample_options(recipe)
        model = load_click_model(options.model, precision="float32").with_inference(small="")
        bank = SmallBank()
        bank.fill(recipe, sets, model, options.per_picture, options.coarse, on_set)
        return bank

    def samples(self, recipe: Recipe, bank: Bank, total: int) -> SmallSamples:
        """Those of `SmallSamples`."""
        options = sample_options(recipe)
        # Without games it is only asked whether the options fit.
        return SmallSamples(bank if isinstance(bank, SmallBank) else SmallBank(), options, recipe.seed, total)

    def weights(self, recipe: Recipe, net: Any) -> dict[str, float]:
        """See `Task.weights`."""
        del net
        return recipe.loss.weights(WEIGHTS)

    def loss(self, step: Step) -> Terms:
        """Cross entropy by the length of the outline, and one minus the soft IoU, after each click."""
        weights = self.weights(step.recipe, step.net)
        batch, free = step.batch, int(step.shared.integers(_FREE + 1))
        before, clicks, truth = batch["before"], batch["clicks"], batch["truth"]
        begun = before
        seen: dict[str, list[Tensor]] = {name: [] for name in WEIGHTS}
        for turn in range(free + _COUNTED):
            clicks = next_clicks(before, truth, clicks, step.draw)
            with torch.set_grad_enabled(turn >= free):
                logits = step.net(batch["image"], begun, before, clicks)
            if turn >= free:
                seen["cross_entropy"].append(outline_entropy(logits, truth).mean())
                seen["jaccard"].append(soft_jaccard(logits, truth).mean())
            before = logits.detach().sigmoid()
        means = {name: torch.stack(values).mean() for name, values in seen.items()}
        total = torch.stack([weights[name] * value for name, value in means.items()]).sum()
        return Terms(total, {name: float(value.detach()) for name, value in means.items()})

    def validator(self, recipe: Recipe, sets: Sequence[Dataset]) -> Validate:
        """NoC@85 of the click model with this network, on held-out pictures."""
        return SmallValidator(recipe, sets, sample_options(recipe).model)


def next_clicks(probability: Tensor, truth: Tensor, clicks: Tensor, draw: Draw) -> Tensor:
    """One more click per sample on its larger kind of error, never on a pixel clicked before.

    Half of them go to the deepest pixel, as in the published protocol, half to any that is nearly as deep.
    Arguments and result are those of `training.clicks.iterative_clicks`.
    """
    updated = clicks.detach().cpu().numpy().copy()
    masks = (probability.detach() > 0.5).cpu().numpy()[:, 0]
    targets = (truth > 0.5).cpu().numpy()[:, 0]
    for rows, mask, target in zip(updated, masks, targets, strict=True):
        used = rows[rows[:, 2] >= 0, :2].round().astype(np.intp)
        depths = [_depth(error, used) for error in (target & ~mask, mask & ~target)]
        positive = bool(depths[0].max() > depths[1].max())
        depth = depths[0 if positive else 1]
        if depth.max() > 0:
            places = np.flatnonzero(depth >= depth.max() * (0.6 if draw(2) else 1))
            row, col = divmod(int(places[draw(len(places))]), depth.shape[1])
            add_click(rows, row, col, positive)
    return torch.from_numpy(updated).to(clicks.device)


def _depth(region: npt.NDArray[np.bool_], used: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    """Distance of each pixel of a region to what lies outside, 0 there and on used pixels."""
    depth = ndi.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1].astype(np.float32)
    depth[used[:, 0], used[:, 1]] = 0
    return np.asarray(depth)


def outline_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """(B,): the sum of the cross entropy by about the number of pixels along the outline."""
    found = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").sum((1, 2, 3))
    return found / (8 * truth.sum((1, 2, 3)).sqrt() + 20)


def soft_jaccard(logits: Tensor, truth: Tensor) -> Tensor:
    """One minus the IoU of the probabilities, (B,) in [0, 1]."""
    probability = logits.sigmoid()
    common = (probability * truth).sum((1, 2, 3))
    either = (probability + truth - probability * truth).sum((1, 2, 3))
    return 1 - (common + 1) / (either + 1)
