"""Training of MST: clicks as for every click model, plus its token loss and score loss."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from napari_iseg.nn.mst_score import MstOutput
from napari_iseg.training.click_task import FIRST_CLICK, ClickTask
from napari_iseg.training.iteration import Batch, Forward, icl_loss, icl_weights, quality_loss
from napari_iseg.training.mst_losses import score_loss, token_loss
from napari_iseg.training.recipe import LossRecipe, Recipe
from napari_iseg.training.task import Step, Terms

_LATE = ("mst-224", "mst-224-6s", "mst-1024")  # branches with the second version of the losses


def published_weights(branch: str) -> dict[str, float]:
    """Weights of the token and the score loss in a branch's training script."""
    if branch in _LATE:
        return {"token": 0.001, "score": 0.001}
    return {"token": 1.0, "score": 0.0 if branch == "mst-224-large" else 1.0}


def mst_weights(branch: str, recipe: LossRecipe) -> dict[str, float]:
    """The weights of MST's own terms where ``[loss.terms]`` says nothing."""
    return {**published_weights(branch), "quality": recipe.quality}


class Detailed(Protocol):
    """A network that tells what it chose: MST's, and the small one trained in its way."""

    branch: str
    patch: int

    def detailed(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> MstOutput:
        """Logits and what the scoring blocks chose."""


class MstTask(ClickTask):
    """Normalised focal loss on the mask, token and score loss on what the scoring blocks chose.

    The authors train with ``icl = false``: clicks without gradient, then one forward that counts.
    """

    def weights(self, recipe: Recipe, net: Any) -> dict[str, float]:
        """See `Task.weights`."""
        if recipe.sampling == FIRST_CLICK:
            return super().weights(recipe, net)
        return icl_weights(recipe.loss, mst_weights(net.branch, recipe.loss))

    def objective(self, step: Step, forwards: int, free: int) -> Terms:
        """The terms "focal", "dice" (ours), "token", "score" and, with that head, "quality" (ours)."""
        net, batch, recipe = step.net, step.batch, step.recipe.loss
        return icl_loss(net, batch, forwards, recipe, step.draw, free, mst_forward(net, batch, recipe))


def mst_forward(net: Detailed, batch: Batch, recipe: LossRecipe) -> Forward:
    """A forward of the network with MST's own losses, by the rules of its branch."""
    late, published = net.branch in _LATE, recipe.published

    def answer(image: Tensor, previous: Tensor, clicks: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        out, truth = net.detailed(image, previous, clicks), batch["truth"]
        losses = {
            "token": token_loss(
                out.chosen, truth, net.patch, published=published, late=late or net.branch == "mst-224-large"
            ),
            "score": score_loss(out.chosen, truth, net.patch, squared=late, published=published),
        }
        if out.quality is not None:
            losses["quality"] = quality_loss(out.logits, out.quality, batch)
        return out.logits, losses

    return Forward(answer, mst_weights(net.branch, recipe))
