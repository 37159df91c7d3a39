"""AdaptiveClick's training objective: matched queries, three losses, every layer supervised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_iseg.backends.adaptiveclick_net import Learned
from napari_iseg.errors import InputError
from napari_iseg.nn.adaptiveclick_decoder import Prediction
from napari_iseg.training.adaptive_focal import adaptive_focal_loss
from napari_iseg.training.adaptiveclick_targets import (
    Targets,
    match,
    object_targets,
    published_targets,
)
from napari_iseg.training.click_task import FIRST_CLICK, ClickTask
from napari_iseg.training.clicks import iterative_clicks
from napari_iseg.training.iteration import expected_iou, soft_dice
from napari_iseg.training.iterative import free_clicks, icl_objective
from napari_iseg.training.losses import normalised_focal_loss
from napari_iseg.training.recipe import LossRecipe, Recipe
from napari_iseg.training.task import Step, Terms

# As published: 0.4, 0.3 and 0.3 of the losses weighted by 5, 5 and 2.
WEIGHTS: Final[Mapping[str, float]] = MappingProxyType({"adaptive_focal": 2.0, "dice": 1.5, "class": 0.6})
# The published code means 0.1 for "no object", but its "no object" is index 0: the object gets it.
CLASS_WEIGHTS: Final = (1.0, 0.1)


def query_losses(predictions: Sequence[Prediction], targets: Sequence[Targets]) -> dict[str, Tensor]:
    """Unweighted losses of every prediction set, each (S,).

    ``adaptive_focal`` and ``dice`` are summed over matched pairs and divided by the number of targets in the
    batch; ``class`` is the weighted mean over all queries, where those without a target should say 0.

    Parameters
    ----------
    predictions : S sets
    targets : of each image of the batch
    """
    classes = torch.stack([prediction.classes for prediction in predictions]).float()
    masks = torch.stack([prediction.masks for prediction in predictions]).float().flatten(3)
    wanted = torch.zeros(classes.shape[:3], dtype=torch.long, device=classes.device)
    answers, truths = [], []
    for b, target in enumerate(targets):
        queries, chosen = match(classes[:, b].detach(), masks[:, b].detach(), target)
        wanted[:, b].scatter_(1, queries, target.labels[chosen])
        pixels = queries[..., None].expand(-1, -1, masks.shape[-1])
        answers.append(masks[:, b].gather(1, pixels))
        truths.append(target.masks[chosen])
    answer, truth = torch.cat(answers, 1), torch.cat(truths, 1)
    count = max(1, sum(len(target.labels) for target in targets))
    flat = answer.flatten(0, 1), truth.flatten(0, 1)
    weight = classes.new_tensor(CLASS_WEIGHTS)
    names = [
        F.cross_entropy(c.flatten(0, 1), w.flatten(), weight) for c, w in zip(classes, wanted, strict=True)
    ]
    return {
        "adaptive_focal": adaptive_focal_loss(*flat).view(answer.shape[:2]).sum(1) / count,
        "dice": _dice(*flat).view(answer.shape[:2]).sum(1) / count,
        "class": torch.stack(names),
    }


def _dice(logits: Tensor, truth: Tensor) -> Tensor:
    """One minus the Dice coefficient of each row, with 1 added to both parts of it: (N, P) -> (N,)."""
    probability = logits.sigmoid()
    common = (probability * truth).sum(1)
    return 1 - (2 * common + 1) / (probability.sum(1) + truth.sum(1) + 1)


class AdaptiveClickTask(ClickTask):
    """Click training with AdaptiveClick's objective.

    Terms, to be weighed in ``[loss.terms]``: ``adaptive_focal``, ``dice`` and ``class``, the published ones,
    summed over all prediction sets. Ours: ``answer`` (default 0), the normalised focal and Dice loss of the
    sum over queries that is the network's answer, which no published term looks at; and ``quality``, for
    networks with a quality head.

    The object is the one target of an image; with ``published = true`` copies of the background are others,
    see `published_targets`. As published there is one counted forward per batch, after clicks without
    gradient; a recipe with ``icl = true`` weighs several as CFR-ICL does.
    """

    def weights(self, recipe: Recipe, net: Any) -> dict[str, float]:
        """See `Task.weights`."""
        if recipe.sampling == FIRST_CLICK:
            return super().weights(recipe, net)
        return recipe.loss.weights({**WEIGHTS, "answer": 0.0, "quality": recipe.loss.quality})

    def objective(self, step: Step, forwards: int, free: int) -> Terms:
        """The loss of a batch with ``forwards`` forwards, after ``free`` ones without gradient."""
        net, batch, recipe = step.net, step.batch, step.recipe.loss
        weights = self.weights(step.recipe, net)
        counted = forwards if recipe.icl else 1
        image, truth = batch["image"], batch["truth"]
        add_click = partial(iterative_clicks, draw=step.draw)
        previous, clicks = free_clicks(
            net, image, truth, batch["clicks"], count=free + forwards - counted, add_click=add_click
        )
        held: list[Learned] = []
        seen: dict[str, list[Tensor]] = {}

        def answer(image: Tensor, previous: Tensor, clicks: Tensor) -> Tensor:
            held.append(net.learned(image, previous, clicks))
            return held[-1].logits

        def criterion(logits: Tensor, truth: Tensor) -> Tensor:
            del logits  # `held` has it, and what it was made of
            terms = _terms(held.pop(), batch, truth, recipe, weights)
            for name, value in terms.items():
                seen.setdefault(name, []).append(value.detach())
            return torch.stack([weights[name] * value for name, value in terms.items()]).sum()

        objective = icl_objective(
            answer,
            image,
            truth,
            clicks,
            forwards=counted,
            add_click=add_click,
            criterion=criterion,
            previous=previous,
        )
        means = {name: float(torch.stack(values).mean()) for name, values in seen.items()}
        return Terms(objective.loss, means, counted * (counted + 1) / 2)


def _terms(
    learned: Learned,
    batch: dict[str, Tensor],
    truth: Tensor,
    recipe: LossRecipe,
    weights: Mapping[str, float],
) -> dict[str, Tensor]:
    """The unweighted terms of one forward, without those that weigh nothing."""
    size = (int(learned.predictions[0].masks.shape[-2]), int(learned.predictions[0].masks.shape[-1]))
    if truth.shape[-2] % size[0] or truth.shape[-1] % size[1]:
        raise InputError(
            f"Training windows of {truth.shape[-2]} x {truth.shape[-1]} pixels do not fit this network; "
            "make [samples] size a multiple of 16."
        )
    make: Callable[[Tensor, tuple[int, int]], list[Targets]] = (
        published_targets if recipe.published else object_targets
    )
    losses = query_losses(learned.predictions, make(truth, size))
    terms = {name: loss.sum() for name, loss in losses.items() if weights[name]}
    if weights["answer"]:
        focal = normalised_focal_loss(learned.logits, truth, alpha=recipe.alpha, gamma=recipe.gamma)
        terms["answer"] = (focal + soft_dice(learned.logits, truth)).mean()
    if learned.quality is not None and weights["quality"]:
        target = expected_iou(learned.logits, truth, batch["full_area"])
        terms["quality"] = F.binary_cross_entropy_with_logits(learned.quality.float(), target)
    return terms
