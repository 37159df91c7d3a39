"""Training of IFSENet by episodes: support path, query path and, for the starter, the encoder, together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from napari_iseg import backends
from napari_iseg.errors import InputError
from napari_iseg.evaluation.datasets import Dataset
from napari_iseg.nn.ifsenet import IfseNet
from napari_iseg.nn.ifsenet_encoder import ConvEncoder, ResNetEncoder
from napari_iseg.training.bank import Bank
from napari_iseg.training.checks import options_of
from napari_iseg.training.episode_bank import EpisodeBank
from napari_iseg.training.episode_loss import SUPPORT_TERMS, WEIGHTS, episode_terms
from napari_iseg.training.episode_samples import EpisodeOptions, EpisodeSamples
from napari_iseg.training.episode_validation import EpisodeValidator
from napari_iseg.training.load import OnSet, Sets
from napari_iseg.training.recipe import Recipe
from napari_iseg.training.task import Step, Task, Terms, Validate

IMAGENET = "imagenet"


class FewShotTask(Task):
    """Episodes in which masks are carried from supports to a query."""

    def build(self, recipe: Recipe) -> IfseNet:
        """The recipe's network.

        ``start`` may be "imagenet" (timm's weights for a ResNet encoder; needs network once), an IFSENet
        model, or a click starter whose trunk becomes the encoder. ``support_start`` is a click starter whose
        network becomes the support path's own (fusion "both"); ``start`` may then be an IFSENet without one.

        Raises
        ------
        InputError
            When the start does not fit the network; FetchError without network for "imagenet".
        """
        net = backends.get(recipe.backend).build(recipe.variant)
        assert isinstance(net, IfseNet)
        if recipe.start == IMAGENET:
            if not isinstance(net.encoder, ResNetEncoder):
                raise InputError("start = 'imagenet' needs a ResNet encoder; choose variant = 'resnet50'.")
            net.encoder.load_imagenet()
        elif recipe.start:
            _start(net, recipe.start, whole=recipe.support_start is None)
        if recipe.support_start:
            _start_support(net, recipe.support_start)
        return net

    def bank(self, recipe: Recipe, sets: Sets, on_set: OnSet | None = None) -> EpisodeBank:
        """The training parts as series of pictures."""
        bank = EpisodeBank()
        bank.fill(recipe, sets, on_set)
        return bank

    def samples(self, recipe: Recipe, bank: Bank, total: int) -> EpisodeSamples:
        """Episodes by index.

        Raises
        ------
        InputError
            For options of [samples] that episodes do not have.
        """
        if not isinstance(bank, EpisodeBank):
            raise InputError("Few-shot training needs the series of an EpisodeBank.")
        return EpisodeSamples(bank, episode_options(recipe), recipe.seed, total)

    def weights(self, recipe: Recipe, net: Any) -> dict[str, float]:
        """See `Task.weights`."""
        del net
        return recipe.loss.weights(WEIGHTS)

    def loss(self, step: Step) -> Terms:
        """The loss of a batch of episodes, see `episode_loss`; ``[loss.terms]`` weighs or drops its terms."""
        recipe, weights = step.recipe.loss, self.weights(step.recipe, step.net)
        free = int(step.shared.integers(0, recipe.free_forwards + 1))
        if step.shared.random() >= recipe.free_share:
            free = 0
        queries = any(weight for name, weight in weights.items() if name not in SUPPORT_TERMS)
        terms = episode_terms(step.net, step.batch, recipe, free, step.draw, queries=queries)
        total = sum((weights[name] * value for name, value in terms.items()), terms["support"].new_zeros(()))
        return Terms(total, {name: float(value.detach()) for name, value in terms.items()})

    def validator(self, recipe: Recipe, sets: Sequence[Dataset]) -> Validate:
        """One minus the mean query IoU over fixed episodes of held-out pictures."""
        return EpisodeValidator(recipe, sets, episode_options(recipe))


def episode_options(recipe: Recipe) -> EpisodeOptions:
    """[samples] of a recipe.

    Raises
    ------
    InputError
        For an unknown option, or a size that is no multiple of 32.
    """
    options = options_of(EpisodeOptions, recipe.samples, "few-shot episodes")
    if options.size % 32 or options.size < 32 or options.supports < 1:
        raise InputError(
            f"Episodes need windows of a multiple of 32 pixels and at least one support, got size "
            f"{options.size} and supports {options.supports}."
        )
    return options


def _start(net: IfseNet, start: str, *, whole: bool) -> None:
    from napari_iseg.weights.store import load_model

    model = load_model(start, device="cpu")
    if model.card.backend == "ifsenet":
        own, theirs = net.state_dict(), model.net.state_dict()
        if not whole:
            own, theirs = _without_own(own), _without_own(theirs)
        if any(key not in theirs or theirs[key].shape != value.shape for key, value in own.items()):
            raise InputError(f"The recipe's start {start!r} is another variant of IFSENet; use its variant.")
        net.load_state_dict(theirs, strict=whole)
    elif isinstance(net.encoder, ConvEncoder):
        net.encoder.load_trunk(model.net.state_dict())
    else:
        raise InputError(
            f"The recipe's start {start!r} is a click model; only encoder = 'conv' can start from its trunk."
        )


def _start_support(net: IfseNet, start: str) -> None:
    from napari_iseg.weights.store import load_model

    state = load_model(start, device="cpu").net.state_dict()
    own = {} if net.own is None else net.own.state_dict()
    if net.own is None or any(k not in state or state[k].shape != value.shape for k, value in own.items()):
        raise InputError(
            f"The recipe's support_start {start!r} does not fit the support path; name a click starter, and "
            "a variant of IFSENet whose support path has that network, as 'starter-both'."
        )
    net.own.load_state_dict(state)


def _without_own(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if not key.startswith("own.")}
