"""Training of IS5Net: first the GT encoder, then the network, held close to the encoder's features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from napari_iseg import backends
from napari_iseg.backends.is5net import EdgeNet, TruthNet, widened
from napari_iseg.errors import CheckpointError, InputError
from napari_iseg.evaluation.datasets import Dataset
from napari_iseg.training.bank import Bank
from napari_iseg.training.edge_losses import (
    BCE_WEIGHT,
    IOU_WEIGHT,
    ORTHOGONALITY_WEIGHT,
    feature_loss,
    map_losses,
    orthogonality,
)
from napari_iseg.training.edge_samples import EdgeSamples, sample_options
from napari_iseg.training.edge_validation import EdgeValidator, TruthValidator
from napari_iseg.training.recipe import Recipe
from napari_iseg.training.task import Step, Task, Terms, Validate

TRUTH_WEIGHTS: Final[Mapping[str, float]] = MappingProxyType(
    {"bce": BCE_WEIGHT, "iou": IOU_WEIGHT, "orthogonality": ORTHOGONALITY_WEIGHT}
)
EDGE_WEIGHTS: Final[Mapping[str, float]] = MappingProxyType({**TRUTH_WEIGHTS, "features": 1.0})


class TruthTask(Task):
    """The GT encoder: true masks in, true masks out."""

    def build(self, recipe: Recipe) -> nn.Module:
        """The recipe's encoder, or its start."""
        net = backends.build(recipe.backend, recipe.variant)
        if recipe.start:
            _start(net, recipe.start)
        return net

    def samples(self, recipe: Recipe, bank: Bank, total: int) -> EdgeSamples:
        """Those of `EdgeSamples`."""
        return EdgeSamples(bank, sample_options(recipe), recipe.seed, total)

    def weights(self, recipe: Recipe, net: Any) -> dict[str, float]:
        """See `Task.weights`."""
        del net
        return recipe.loss.weights(TRUTH_WEIGHTS)

    def loss(self, step: Step) -> Terms:
        """The side maps' losses on the encoder's own input, and orthogonality."""
        weights, truth = self.weights(step.recipe, step.net), step.batch["truth"]
        logits, _ = step.net.sides(truth)
        return _weighed(weights, _common(step.net, logits, truth, weights))

    def validator(self, recipe: Recipe, sets: Sequence[Dataset]) -> Validate:
        """One minus the largest F-measure on held-out masks; published training stops at 0.01."""
        return TruthValidator(recipe, sets)


class EdgeTask(TruthTask):
    """IS5Net. ``[loss] guide`` names the GT encoder; without one the feature term must be switched off."""

    def __init__(self) -> None:
        self._guide: TruthNet | None = None

    def weights(self, recipe: Recipe, net: Any) -> dict[str, float]:
        """See `Task.weights`; InputError, too, where the feature term is on and the recipe names no guide."""
        del net
        weights = recipe.loss.weights(EDGE_WEIGHTS)
        if weights["features"] and not recipe.loss.guide:
            raise InputError(
                "The recipe names no GT encoder: set guide in [loss] to a trained one, or features = 0 "
                "in [loss.terms]."
            )
        return weights

    def loss(self, step: Step) -> Terms:
        """The side maps' losses, the distance to the guide's features, and orthogonality.

        Raises
        ------
        InputError
            When the feature term is on and the recipe names no guide, or one that does not fit.
        """
        net, batch, recipe = step.net, step.batch, step.recipe
        weights = self.weights(recipe, net)
        logits, features = net.all_sides(batch["image"], batch["mask"], batch["box"])
        terms = _common(net, logits, batch["truth"], weights)
        if weights["features"]:
            guide = self._guided(recipe, batch["truth"].device)
            with torch.no_grad():
                truth = guide.sides(batch["truth"])[1]
            if [t.shape for t in truth] != [f.shape for f in features]:
                raise InputError(
                    f"The guide {recipe.loss.guide!r} has other feature sizes than the network; train one "
                    "with the same width."
                )
            terms["features"] = feature_loss(features, truth)
        return _weighed(weights, terms)

    def validator(self, recipe: Recipe, sets: Sequence[Dataset]) -> Validate:
        """One minus the boundary IoU of refined coarse masks of held-out pictures."""
        return EdgeValidator(recipe, sets)

    def _guided(self, recipe: Recipe, device: torch.device) -> TruthNet:
        if self._guide is None:
            assert recipe.loss.guide, "weights() refuses a feature term without one"
            from napari_iseg.weights.store import load_net

            card, net = load_net(recipe.loss.guide)
            if not isinstance(net, TruthNet):
                raise InputError(f"The guide {card.name!r} is no GT encoder; name an is5net-gt-encoder.")
            # As released the frozen encoder stays in training mode, so that its norms follow each batch.
            self._guide = net.requires_grad_(False).train(recipe.loss.published).to(device)
        return self._guide


def _common(
    net: nn.Module, logits: Sequence[Tensor], truth: Tensor, weights: Mapping[str, float]
) -> dict[str, Tensor]:
    """The terms that both trainings have; the costly one only where it counts."""
    crossed, overlap = map_losses(logits, truth)
    terms = {"bce": crossed.sum(), "iou": overlap.sum()}
    if weights["orthogonality"]:
        terms["orthogonality"] = orthogonality(net)
    return terms


def _weighed(weights: Mapping[str, float], terms: Mapping[str, Tensor]) -> Terms:
    total = torch.stack([weights[name] * value for name, value in terms.items()]).sum()
    return Terms(total, {name: float(value.detach()) for name, value in terms.items()})


def _start(net: nn.Module, start: str) -> None:
    """Weights of another model of the same kind; one with fewer input channels is widened with zeros."""
    from napari_iseg.weights.store import load_net

    card, other = load_net(start)
    if type(other) is not type(net):
        raise InputError(f"The recipe's start {start!r} is a {card.backend}; name one of the same backend.")
    state = dict(other.state_dict())
    if isinstance(net, EdgeNet):
        state["conv_in.weight"] = widened(state["conv_in.weight"], net.in_channels)
    try:
        cast("nn.Module", net).load_state_dict(state)
    except RuntimeError:
        raise CheckpointError(
            f"The recipe's start {start!r} has another width; give the variant the same width."
        ) from None
