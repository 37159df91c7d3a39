"""What the training loop needs to know of a kind of model; one implementation per way of training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import numpy as np
from torch import Tensor, nn

from napari_iseg.errors import InputError
from napari_iseg.training.clicks import Draw
from napari_iseg.training.recipe import Recipe

if TYPE_CHECKING:
    from napari_iseg.evaluation.datasets import Dataset
    from napari_iseg.training.bank import Bank
    from napari_iseg.training.indexed import IndexedSamples
    from napari_iseg.training.load import OnSet, Sets

Validate = Callable[[Any, int], dict[str, float]]  # (network, step) -> scores, "score" among them


@dataclass
class Terms:
    """The loss of one batch.

    Attributes
    ----------
    total : () float, what is back-propagated
    terms : the unweighted terms by name, for ``log.csv`` and ``curves.png``; the same names in every step
    weight : how many single losses ``total`` is the (weighted) sum of; the log shows ``total / weight``
    """

    total: Tensor
    terms: dict[str, float] = field(default_factory=dict)
    weight: float = 1.0


@dataclass(frozen=True)
class Step:
    """What the loss of one training step depends on.

    Attributes
    ----------
    net : the network in training mode, wrapped for the device
    batch : samples on the device, collated
    shared : equal on all devices: decides how many forwards there are
    draw : differs between devices: decides everything else, e.g. where clicks go
    """

    net: Any
    batch: dict[str, Tensor]
    recipe: Recipe
    shared: np.random.Generator
    draw: Draw


class Task(Protocol):
    """A way of training: builds, feeds, scores and validates a network. Inherit from it for `bank`.

    A network whose loss calls other methods than ``forward`` names them in ``training_methods``, a tuple of
    strings, so that they run under the trainer's precision and on its devices.
    """

    def build(self, recipe: Recipe) -> nn.Module:
        """The network with random weights (torch's generator is seeded before), or the recipe's start."""

    def bank(self, recipe: Recipe, sets: Sets, on_set: OnSet | None = None) -> Bank:
        """The training part of the sets in memory; by default pictures with their objects."""
        from napari_iseg.training.load import load_bank

        return load_bank(recipe, sets, on_set)

    def samples(self, recipe: Recipe, bank: Bank, total: int) -> IndexedSamples[Any]:
        """``total`` samples by index, each following from (seed, index) alone."""

    def weights(self, recipe: Recipe, net: Any) -> dict[str, float]:
        """The weight of each term that `loss` adds up for this network, by name.

        A task that does not say is asked nothing before its first step, where it refuses by itself.

        Raises
        ------
        InputError
            When [loss.terms] names a term that is none of these, or the terms lack what they need.
        """
        del recipe, net
        return {}

    def loss(self, step: Step) -> Terms:
        """The loss of one batch."""

    def validator(self, recipe: Recipe, sets: Sequence[Dataset]) -> Validate:
        """Scores on held-out data. ``score`` is lower where better and decides ``best.ckpt``.

        Raises
        ------
        InputError
            When the sets have nothing to score, see `held_out.check_scored`.
        """


# One line per backend that can be trained: name -> "module:class".
TASKS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "cfr-icl": "napari_iseg.training.click_task:ClickTask",
        "sam": "napari_iseg.training.sam_task:SamTask",
        "mst": "napari_iseg.training.mst:MstTask",
        "adaptiveclick": "napari_iseg.training.adaptiveclick_loss:AdaptiveClickTask",
        "is5net": "napari_iseg.training.edge_task:EdgeTask",
        "is5net-gt-encoder": "napari_iseg.training.edge_task:TruthTask",
        "ifsenet": "napari_iseg.training.fewshot_task:FewShotTask",
        "thin": "napari_iseg.training.thin_task:ThinTask",
        "small": "napari_iseg.training.small_task:SmallTask",
    }
)


def task_for(backend: str) -> Task:
    """How a backend's models are trained.

    Raises
    ------
    InputError
        For a backend that cannot be trained here; the sentence lists those that can.
    """
    if backend not in TASKS:
        raise InputError(
            f"The recipe's backend {backend!r} cannot be trained; those that can are {', '.join(TASKS)}."
        )
    module, attribute = TASKS[backend].split(":")
    return cast("Task", getattr(import_module(module), attribute)())
