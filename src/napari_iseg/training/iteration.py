"""One training step of a click model: free clicks, then the weighted forwards of ICL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_iseg.training.clicks import Draw, iterative_clicks
from napari_iseg.training.iterative import free_clicks, icl_objective
from napari_iseg.training.losses import normalised_focal_loss
from napari_iseg.training.recipe import LossRecipe
from napari_iseg.training.task import Terms

Batch = dict[str, Tensor]


def expected_iou(logits: Tensor, truth: Tensor, full_area: Tensor) -> Tensor:
    """IoU of the mask with the whole object, (B,): an object cut by the window counts with its full area."""
    mask = (logits.detach() > 0).float()
    common = (mask * truth).sum((1, 2, 3))
    return common / (mask.sum((1, 2, 3)) + full_area - common).clamp(min=1)


def soft_dice(logits: Tensor, truth: Tensor) -> Tensor:
    """One minus the Dice coefficient of the probabilities, (B,) in [0, 1]."""
    probability = logits.sigmoid()
    common = (probability * truth).sum((1, 2, 3))
    return 1 - (2 * common + 1) / (probability.sum((1, 2, 3)) + truth.sum((1, 2, 3)) + 1)


@dataclass(frozen=True)
class Forward:
    """A forward that has losses of its own beside those of the mask.

    Attributes
    ----------
    answer : (image, previous mask, clicks) -> logits and the unweighted losses by name, each ()
    weights : their weights where the recipe says nothing else
    """

    answer: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, dict[str, Tensor]]]
    weights: Mapping[str, float]


def quality_loss(logits: Tensor, quality: Tensor, batch: Batch) -> Tensor:
    """How far a quality head, (B,) logits, is from the IoU of the masks that it judges: (), ours."""
    return F.binary_cross_entropy_with_logits(
        quality, expected_iou(logits, batch["truth"], batch["full_area"])
    )


def plain_forward(net: Any, batch: Batch, recipe: LossRecipe) -> Forward:
    """The network's own forward; one with a quality head (``trained``) also learns the IoU of its masks."""

    trained = getattr(net, "trained", None)

    def answer(image: Tensor, previous: Tensor, clicks: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        if trained is None:
            return net(image, previous, clicks), {}
        logits, quality = trained(image, previous, clicks)
        return logits, {"quality": quality_loss(logits, quality, batch)}

    return Forward(answer, own_weights(net, recipe))


def own_weights(net: Any, recipe: LossRecipe) -> dict[str, float]:
    """Weights of what a network learns beside the mask: nothing where it has no head for it."""
    return {"quality": recipe.quality if hasattr(net, "trained") else 0.0}


def icl_weights(recipe: LossRecipe, own: Mapping[str, float]) -> dict[str, float]:
    """Weights of all terms of `icl_loss`; ``own`` are a method's."""
    return recipe.weights({"focal": 1.0, "dice": recipe.dice, **own})


def icl_loss(
    net: Any,
    batch: Batch,
    forwards: int,
    recipe: LossRecipe,
    draw: Draw,
    free: int = 0,
    forward: Forward | None = None,
) -> Terms:
    """The loss of one batch: ICL (or only the last forward without it), Dice and a method's own terms.

    The Dice term and the free clicks are ours; ``free`` clicks are made without gradient first. The total
    weighs mask losses of the i-th forward that counts by i; own terms are summed over these forwards. The
    logged terms are means over them.
    """
    forward = forward or plain_forward(net, batch, recipe)
    weights = icl_weights(recipe, forward.weights)
    counted = forwards if recipe.icl else 1
    image, truth = batch["image"], batch["truth"]
    add_click = partial(iterative_clicks, draw=draw)
    previous, clicks = free_clicks(
        net, image, truth, batch["clicks"], count=free + forwards - counted, add_click=add_click
    )
    own: dict[str, list[Tensor]] = {}
    seen: dict[str, list[Tensor]] = {"focal": [], "dice": []}

    def answer(image: Tensor, previous: Tensor, clicks: Tensor) -> Tensor:
        logits, losses = forward.answer(image, previous, clicks)
        for name, loss in losses.items():
            own.setdefault(name, []).append(loss)
        return logits

    def criterion(logits: Tensor, truth: Tensor) -> Tensor:
        focal = normalised_focal_loss(logits, truth, alpha=recipe.alpha, gamma=recipe.gamma)
        seen["focal"].append(focal.detach().mean())
        loss = weights["focal"] * focal
        if not weights["dice"]:
            return loss
        dice = soft_dice(logits, truth)
        seen["dice"].append(dice.detach().mean())
        return loss + weights["dice"] * dice

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
    total = objective.loss
    for name, losses in own.items():
        if weights[name]:
            total = total + weights[name] * torch.stack(losses).sum()
        seen[name] = [loss.detach() for loss in losses]
    terms = {name: float(torch.stack(values).mean()) for name, values in seen.items() if values}
    return Terms(total, terms, counted * (counted + 1) / 2)
