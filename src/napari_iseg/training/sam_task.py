"""Training of SAM-like networks (arXiv 2304.02643, appendix A): clicks and boxes, masks that may mean several
things, an IoU head, and answers that are corrected by further clicks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_iseg.errors import InputError
from napari_iseg.evaluation.boxes import evaluate_boxes
from napari_iseg.evaluation.datasets import Dataset
from napari_iseg.training.bank import Bank
from napari_iseg.training.click_task import ClickTask
from napari_iseg.training.clicks import Draw, iterative_clicks
from napari_iseg.training.indexed import IndexedSamples
from napari_iseg.training.recipe import LossRecipe, Recipe
from napari_iseg.training.samples import Samples
from napari_iseg.training.several import SeveralObjects
from napari_iseg.training.task import Step, Terms, Validate
from napari_iseg.training.validation import NocValidator, validated_model

_KINDS, _SHARES = ("click", "box", "both"), (0.5, 0.35, 0.15)
WEIGHTS: Mapping[str, float] = MappingProxyType({"focal": 20.0, "dice": 1.0, "iou": 1.0})
_NOISE, _MOST_NOISE = 0.1, 20.0  # of box corners: share of the side, pixels at most; the paper's


class SamTask(ClickTask):
    """A network with ``encode`` and ``decode``; a picture is encoded once for all objects asked in it.

    The paper's weights of the terms are 20 (focal), 1 (dice) and 1 (iou); ``[loss.terms]`` sets others.
    """

    own_options = ("objects", "box_noise")

    def weights(self, recipe: Recipe, net: Any) -> dict[str, float]:
        """See `Task.weights`."""
        del net
        return recipe.loss.weights(WEIGHTS)

    def loss(self, step: Step) -> Terms:
        """The sum over rounds; each feeds back the answer before it and adds a click on its largest error."""
        net, recipe, draw = step.net, step.recipe.loss, step.draw
        weights = self.weights(step.recipe, net)
        batch = per_object(step.batch)
        rounds = int(step.shared.integers(1, recipe.max_forwards + 1))
        kind = str(step.shared.choice(_KINDS, p=_SHARES))
        image, truth = step.batch["image"], batch["truth"]
        embedding = net.encode(image).repeat_interleave(len(truth) // len(image), 0)
        clicks = first_clicks(batch, draw, wanted=kind != "box")
        noise = float(step.recipe.samples.get("box_noise", _NOISE))
        boxes = shaken_boxes(truth, draw, noise) if kind != "click" else None
        memory: Tensor | None = None
        total, seen = image.new_zeros(()), {"focal": 0.0, "dice": 0.0, "iou": 0.0}
        for turn in range(rounds):
            points, labels = point_prompts(clicks)
            several = turn == 0 and kind == "click"
            logits, quality = net.decode(embedding, points, labels, boxes, memory, several=several)
            fine = F.interpolate(logits.float(), image.shape[-2:], mode="bilinear", align_corners=False)
            terms = mask_terms(fine, quality.float(), batch, recipe, weights)
            for name, term in terms.items():
                total = total + weights[name] * term
                seen[name] += float(term.detach()) / rounds
            if turn + 1 < rounds:
                chosen = quality.detach().argmax(1)
                rows = torch.arange(len(truth), device=image.device)
                memory = logits.detach()[rows, chosen][:, None]
                answer = fine.detach()[rows, chosen][:, None].sigmoid()
                clicks = iterative_clicks(answer, truth, clicks, draw)
        return Terms(total, seen, float(rounds))

    def samples(self, recipe: Recipe, bank: Bank, total: int) -> IndexedSamples[Bank]:
        """As for click models, with two options of [samples] more.

        ``objects`` is the number of targets in a window (1), ``box_noise`` see `shaken_boxes` (0.1).
        """
        count = recipe.samples.get("objects", 1)
        shared = {k: v for k, v in recipe.samples.items() if k not in self.own_options}
        made = super().samples(replace(recipe, samples=shared), bank, total)
        if count == 1:
            return made
        if not isinstance(made, Samples) or not isinstance(count, int) or count < 1:
            raise InputError("objects in the recipe's [samples] is a whole number, for sampling = 'windows'.")
        return SeveralObjects(bank, made.options, recipe.seed, total, made.late_from, count)

    def validator(self, recipe: Recipe, sets: Sequence[Dataset]) -> Validate:
        """NoC by clicks and mean IoU by boxes."""
        return ClickAndBoxValidator(recipe, sets)


class ClickAndBoxValidator(NocValidator):
    """As `NocValidator`, with ``box_iou``; ``score`` is the share of clicks needed plus 1 - ``box_iou``."""

    def __call__(self, net: Any, step: int) -> dict[str, float]:
        """Scores of ``net``."""
        found = super().__call__(net, step)
        training = net.training
        model, limits = validated_model(self.recipe, net), self.recipe.validation
        ious = [
            evaluate_boxes(
                model, data, max_objects=limits.objects, max_objects_per_image=4, seed=limits.seed
            ).mean_iou
            for data in self.sets
        ]
        net.train(training)
        box_iou = float(np.mean(ious))
        return {**found, "box_iou": box_iou, "score": found["noc"] / limits.max_clicks + 1 - box_iou}


def per_object(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """``truth`` (B, N, H, W) as (B N, 1, H, W), with ``clicks`` (B N, 2M, 3) and ``full_area`` (B N,).

    The sample's own clicks and area are those of its first object. The others have no click yet, and lie
    within the window, so that their area is what is seen.
    """
    truth = batch["truth"]
    clicks = torch.full_like(batch["clicks"][:, None].expand(-1, truth.shape[1], -1, -1), -1.0)
    area = truth.clamp(min=0).sum((2, 3))
    clicks[:, 0], area[:, 0] = batch["clicks"], batch["full_area"]
    return {
        "truth": truth.flatten(0, 1)[:, None],
        "clicks": clicks.flatten(0, 1),
        "full_area": area.flatten(),
    }


def mask_terms(
    logits: Tensor, quality: Tensor, batch: dict[str, Tensor], recipe: LossRecipe, weights: dict[str, float]
) -> dict[str, Tensor]:
    """Unweighted losses of an answer, each ().

    Of several masks only the best one learns its shape (so that masks may come to mean different things); the
    expected IoU of all of them learns.

    Parameters
    ----------
    logits : (B, C, H, W)
    quality : (B, C)
    """
    truth = batch["truth"].expand(-1, logits.shape[1], -1, -1)
    focal, dice = focal_loss(logits, truth, recipe.alpha, recipe.gamma), dice_loss(logits, truth)
    best = (weights["focal"] * focal + weights["dice"] * dice).detach().argmin(1, keepdim=True)
    mask = (logits.detach() > 0).float()
    common = (mask * truth.clamp(min=0)).sum((2, 3))
    # An object cut by the window counts with its full area: a window that cuts is a bad one.
    whole = mask.sum((2, 3)) + batch["full_area"][:, None] - common
    iou = common / whole.clamp(min=1)
    return {
        "focal": focal.gather(1, best).mean(),
        "dice": dice.gather(1, best).mean(),
        "iou": F.mse_loss(quality, iou),
    }


def focal_loss(logits: Tensor, truth: Tensor, alpha: float, gamma: float) -> Tensor:
    """Focal loss (Lin et al. 2017), mean over pixels: (B, C). ``truth`` is 0 or 1, -1 where ignored."""
    valid, target = (truth >= 0).float(), truth.clamp(min=0)
    error = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    certainty = torch.where(target > 0.5, logits.sigmoid(), 1 - logits.sigmoid())
    balance = torch.where(target > 0.5, alpha, 1 - alpha)
    loss = balance * (1 - certainty) ** gamma * error * valid
    return loss.sum((2, 3)) / valid.sum((2, 3)).clamp(min=1)


def dice_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """One minus the Dice coefficient of the probabilities, (B, C)."""
    valid, target = (truth >= 0).float(), truth.clamp(min=0)
    probability = logits.sigmoid() * valid
    common = (probability * target).sum((2, 3))
    return 1 - (2 * common + 1) / (probability.sum((2, 3)) + target.sum((2, 3)) + 1)


def first_clicks(batch: dict[str, Tensor], draw: Draw, *, wanted: bool) -> Tensor:
    """The sample's first click alone (B, 2N, 3), drawn from the object where there is none; or no click."""
    given = batch["clicks"]
    clicks = torch.full_like(given, -1.0)
    if not wanted:
        return clicks
    clicks[:, 0] = given[:, 0]
    clicks[:, 0, 2] = torch.where(given[:, 0, 2] >= 0, 0.0, -1.0)
    drawn = iterative_clicks(
        torch.zeros_like(batch["truth"]), batch["truth"], torch.full_like(given, -1.0), draw
    )
    missing = (clicks[:, 0, 2] < 0)[:, None, None]
    return torch.where(missing, drawn, clicks)


def point_prompts(clicks: Tensor) -> tuple[Tensor, Tensor]:
    """Points (B, N, 2) as (x, y) and labels (B, N) of clicks (B, 2N, 3), rows that no sample uses left out.

    A batch where some samples have no click in a row marks it as unused (-1) there.
    """
    half = clicks.shape[1] // 2
    used = clicks[..., 2] >= 0
    signs = (torch.arange(clicks.shape[1], device=clicks.device) < half).float().expand(len(clicks), -1)
    rows = used.any(0)
    labels = torch.where(used, signs, -1.0)
    return clicks[:, rows, :2].flip(-1), labels[:, rows]


def shaken_boxes(truth: Tensor, draw: Draw, noise: float = _NOISE) -> Tensor:
    """Boxes (B, 4) x0, y0, x1, y1 around the objects of ``truth`` (B, 1, H, W), corners moved a little.

    ``noise`` is the deviation of a corner as a share of the side.
    """
    boxes = []
    rng = np.random.default_rng(draw(2**31))
    for mask in truth[:, 0].cpu().numpy() > 0.5:
        rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not len(rows):  # an object that augmentation has hidden: anywhere
            rows, cols = np.arange(mask.shape[0]), np.arange(mask.shape[1])
        corners = np.array([cols[0], rows[0], cols[-1] + 1, rows[-1] + 1], np.float32)
        sides = np.tile(corners[2:] - corners[:2], 2)
        most = np.minimum(_MOST_NOISE, 0.3 * sides)
        boxes.append(corners + np.clip(rng.normal(size=4) * noise * sides, -most, most))
    return torch.from_numpy(np.stack(boxes).astype(np.float32)).to(truth.device)
