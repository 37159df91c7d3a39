"""Training of click models: clicks, forwards, and one objective per method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from torch import Tensor

from napari_iseg import backends
from napari_iseg.backends.base import ClickNet
from napari_iseg.errors import InputError
from napari_iseg.evaluation.datasets import Dataset
from napari_iseg.interactive.rules import window_rule
from napari_iseg.interactive.scale_search import ScaleSearch
from napari_iseg.interactive.window_grid import window_grid
from napari_iseg.training.bank import Bank
from napari_iseg.training.checks import options_of
from napari_iseg.training.first_click import (
    FirstClickOptions,
    FirstClickSamples,
    first_click_loss,
    first_click_weights,
)
from napari_iseg.training.indexed import IndexedSamples
from napari_iseg.training.iteration import icl_loss, icl_weights, own_weights
from napari_iseg.training.published import RULES, PublishedSamples
from napari_iseg.training.recipe import Recipe
from napari_iseg.training.samples import SampleOptions, Samples
from napari_iseg.training.task import Step, Task, Terms, Validate
from napari_iseg.training.validation import NocValidator

FIRST_CLICK: Final = "first-click"


class ClickTask(Task):
    """A click model trained by iterated clicks; a method with a loss of its own overrides `objective`
    and, to have [loss.terms] checked before data are read, `weights`.

    Attributes
    ----------
    own_options : what [samples] may name beside the options of the sampling
    """

    own_options: tuple[str, ...] = ()

    def build(self, recipe: Recipe) -> ClickNet:
        """The recipe's network, with the weights of its start where that names one."""
        net = backends.get_click(recipe.backend).build(recipe.variant)
        if recipe.start:
            _start(net, recipe.start, recipe)
        return net

    def samples(self, recipe: Recipe, bank: Bank, total: int) -> IndexedSamples[Bank]:
        """Samples as ``recipe.sampling`` says.

        Raises
        ------
        InputError
            For an unknown sampling, or options that it does not have.
        """
        late_from = recipe.optim.falls_from * total // recipe.optim.steps
        rule = next((rule for rule in RULES if rule == recipe.sampling), None)
        if rule is not None:
            return PublishedSamples(bank, rule, recipe.seed, total, **recipe.samples)
        if recipe.sampling == "windows":
            options = options_of(SampleOptions, recipe.samples, "sampling = 'windows'", self.own_options)
            return Samples(bank, options, recipe.seed, total, late_from)
        if recipe.sampling == FIRST_CLICK:
            return _first_clicks(recipe, bank, total)
        raise InputError(
            f"Unknown sampling {recipe.sampling!r}; use 'windows', 'first-click', 'cocolvis', 'sbd' or 'mst'."
        )

    def weights(self, recipe: Recipe, net: Any) -> dict[str, float]:
        """See `Task.weights`."""
        if recipe.sampling == FIRST_CLICK:
            return first_click_weights(net, recipe.loss)
        if type(self).objective is not ClickTask.objective:  # a method's terms are its own to say
            return {}
        return icl_weights(recipe.loss, own_weights(net, recipe.loss))

    def loss(self, step: Step) -> Terms:
        """Draws how many forwards count and how many clicks are made before, then asks `objective`."""
        if step.recipe.sampling == FIRST_CLICK:
            return first_click_loss(step.net, step.batch, step.recipe.loss)
        recipe, shared = step.recipe.loss, step.shared
        forwards, free = int(shared.integers(1, recipe.max_forwards + 1)), 0
        if recipe.free_forwards and shared.random() < recipe.free_share:
            free = int(shared.integers(1, recipe.free_forwards + 1))
        return self.objective(step, forwards, free)

    def objective(self, step: Step, forwards: int, free: int) -> Terms:
        """The loss of a batch with ``forwards`` forwards that count after ``free`` that do not."""
        return icl_loss(step.net, step.batch, forwards, step.recipe.loss, step.draw, free)

    def validator(self, recipe: Recipe, sets: Sequence[Dataset]) -> Validate:
        """NoC by the click protocol."""
        return NocValidator(recipe, sets)


def _first_clicks(recipe: Recipe, bank: Bank, total: int) -> FirstClickSamples:
    """First clicks as the recipe's inference will show them to the network."""
    inference = backends.get_click(recipe.backend).inference.with_options(**recipe.inference)
    rule = window_rule(inference)
    if not isinstance(rule, ScaleSearch):
        raise InputError(
            "sampling = 'first-click' learns to choose among the squares of the scale search; set window = "
            "'scale-search' and search_sides in the recipe's [inference]."
        )
    return FirstClickSamples(
        bank,
        options_of(FirstClickOptions, recipe.samples, f"sampling = {FIRST_CLICK!r}"),
        recipe.seed,
        total,
        rule=rule,
        grid=window_grid(inference.grid),
        size=inference.search_coarse or max(inference.size),
    )


def _start(net: ClickNet, start: str, recipe: Recipe) -> None:
    """Weights of another model: all of the same method's, what fits in name and shape of another method's."""
    from napari_iseg.weights.store import load_model

    model = load_model(start, device="cpu")
    theirs: Mapping[str, Tensor] = model.net.state_dict()
    own = net.state_dict()
    if model.card.backend == recipe.backend:
        if _shapes(theirs) != _shapes(own):
            raise InputError(
                f"The recipe's start {start!r} is of the variant {model.card.variant!r}, but its network of "
                f"{recipe.variant!r}; name a start of that variant, or set variant to that of the start."
            )
        net.load_state_dict(theirs)
        return
    shared = {key: value for key, value in theirs.items() if key in own and own[key].shape == value.shape}
    if not shared:
        raise InputError(
            f"The recipe's start {start!r} ({model.card.backend}) shares no weights with the "
            f"{recipe.backend} network; leave it out or name a model of the same trunk."
        )
    net.load_state_dict(shared, strict=False)


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items()}
