"""Training of the network for thin structures: features on which a rule fitted to a few clicks holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_iseg import backends
from napari_iseg.evaluation.datasets import Dataset
from napari_iseg.nn.exact import exact
from napari_iseg.nn.pixel_rule import Fitted, fits, spread
from napari_iseg.training.bank import Bank
from napari_iseg.training.clicks import Draw, iterative_clicks
from napari_iseg.training.episode_bank import EpisodeBank
from napari_iseg.training.iteration import soft_dice
from napari_iseg.training.load import OnSet, Sets
from napari_iseg.training.recipe import Recipe
from napari_iseg.training.task import Step, Task, Terms, Validate
from napari_iseg.training.thin_samples import ThinBank, ThinSamples, sample_options
from napari_iseg.training.thin_validation import ThinValidator

WEIGHTS: Final[Mapping[str, float]] = MappingProxyType({"cross_entropy": 1.0, "dice": 1.0})
_FEW, _MANY = (1, 2, 3, 4, 5, 6), (1, 2, 3, 5, 8, 12)  # clicks after which the answer is learned from
_MANY_SHARE: Final = 0.25  # of batches with many clicks
_ANYWHERE: Final = 400  # pixels that stand for the picture at large
_FIRST: Final = 0.5  # weight of the answer to a single click, which may mean many things


class ThinTask(Task):
    """The backend "thin"."""

    def build(self, recipe: Recipe) -> nn.Module:
        """The recipe's network, or its start."""
        net: nn.Module = backends.build(recipe.backend, recipe.variant)
        if recipe.start:
            from napari_iseg.weights.store import load_net

            net.load_state_dict(load_net(recipe.start)[1].state_dict())
        return net

    def bank(self, recipe: Recipe, sets: Sets, on_set: OnSet | None = None) -> EpisodeBank:
        """The training parts as series, which know the classes of their pictures."""
        bank = ThinBank()
        bank.fill(recipe, sets, on_set)
        return bank

    def samples(self, recipe: Recipe, bank: Bank, total: int) -> ThinSamples:
        """Those of `ThinSamples`."""
        assert isinstance(bank, EpisodeBank), "thin structures are drawn from the series of an EpisodeBank"
        return ThinSamples(bank, sample_options(recipe), recipe.seed, total)

    def weights(self, recipe: Recipe, net: Any) -> dict[str, float]:
        """See `Task.weights`."""
        del net
        return recipe.loss.weights(WEIGHTS)

    def loss(self, step: Step) -> Terms:
        """Cross entropy, half of it balanced between class and rest, and Dice, after several clicks."""
        weights = self.weights(step.recipe, step.net)
        counts = _MANY if step.shared.random() < _MANY_SHARE else _FEW
        features = step.net(step.batch["image"])
        clicks = _simulated(step.net, features.detach(), step.batch, counts[-1], step.draw)
        logits = answers(step.net, features, clicks, counts)
        truth = step.batch["truth"].expand_as(logits)
        share = torch.tensor([_FIRST] + [1.0] * (len(counts) - 1), device=logits.device)
        share = share / share.sum()
        flat = logits.flatten(0, 1)[:, None], truth.flatten(0, 1)[:, None]
        found = {
            "cross_entropy": (_cross_entropy(*flat).view(-1, len(counts)) * share).sum(1).mean(),
            "dice": (soft_dice(*flat).view(-1, len(counts)) * share).sum(1).mean(),
        }
        total = torch.stack([weights[name] * value for name, value in found.items()]).sum()
        return Terms(total, {name: float(value.detach()) for name, value in found.items()})

    def validator(self, recipe: Recipe, sets: Sequence[Dataset]) -> Validate:
        """One minus the mean IoU over the clicks of the protocol on held-out pictures."""
        return ThinValidator(recipe, sets)


def answers(net: Any, features: Tensor, clicks: Tensor, counts: Sequence[int]) -> Tensor:
    """Logits (B, len(counts), H, W) of the rules after so many clicks.

    Parameters
    ----------
    features : (B, D, H, W)
    clicks : (B, 2N, 3), see `napari_iseg.backends.base.ClickNet.forward`
    """
    shape = features.shape[-2], features.shape[-1]
    found = []
    for one, placed in zip(features, clicks, strict=True):
        rows = partial(_rows, one)
        rules = fits(net.rule, rows, placed, rows(spread(shape, _ANYWHERE)), shape, counts)
        kernels, biases = torch.stack([r.kernel for r in rules]), torch.stack([r.bias for r in rules])
        with exact(one):
            found.append(torch.einsum("kd,dhw->khw", kernels, one.float()) + biases[:, None, None])
    return torch.stack(found)


def _rows(features: Tensor, pixels: Tensor) -> Tensor:
    return features[:, pixels[:, 0], pixels[:, 1]].T.float()


@torch.no_grad()
def _simulated(net: Any, features: Tensor, batch: Mapping[str, Tensor], count: int, draw: Draw) -> Tensor:
    """(B, 2N, 3): the first clicks, and further ones where the rule is wrong."""
    clicks = torch.full((len(features), 2 * count, 3), -1.0, device=features.device)
    clicks[:, 0, :2] = batch["click"]
    clicks[:, 0, 2] = 0
    shape = features.shape[-2], features.shape[-1]
    rows = [partial(_rows, one) for one in features]
    anywhere = [one(spread(shape, _ANYWHERE)) for one in rows]
    rules: list[Fitted | None] = [None] * len(features)
    for known in range(1, count):
        logits = []
        for i, one in enumerate(features):
            rule = fits(net.rule, rows[i], clicks[i], anywhere[i], shape, (known,), rules[i])[0]
            with exact(one):
                logits.append(torch.einsum("d,dhw->hw", rule.kernel, one.float()) + rule.bias)
            rules[i] = rule
        clicks = iterative_clicks(torch.stack(logits)[:, None].sigmoid(), batch["truth"], clicks, draw)
    return clicks


def _cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """(B,): half the mean over pixels, half the mean of the means over class and rest."""
    losses = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    inside = (losses * truth).sum((1, 2, 3)) / truth.sum((1, 2, 3)).clamp(min=1)
    outside = (losses * (1 - truth)).sum((1, 2, 3)) / (1 - truth).sum((1, 2, 3)).clamp(min=1)
    return 0.5 * losses.mean((1, 2, 3)) + 0.25 * (inside + outside)
