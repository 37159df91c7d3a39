"""Few-shot models and baselines by name."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, cast

from napari_iseg.errors import ModelNotFoundError
from napari_iseg.fewshot.baselines import CopyNearest, Interpolation

if TYPE_CHECKING:
    from napari_iseg.fewshot.base import FewShotModel, UnitPredictor
    from napari_iseg.weights.store import Store

BACKEND: Final = "ifsenet"
DEFAULT_MODEL: Final = "ifsenet-starter"
_CLICKS: Final = "cfr-icl-starter"

# Methods without trained few-shot weights: name -> one line for people.
METHODS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "training-free": "features of the click starter with a pixel classifier fitted to your annotation",
        "copy-nearest": "baseline: the nearest annotated slice, unchanged",
        "interpolation": "baseline: outlines interpolated between annotated slices",
        "two-stage": "baseline: a click model's mask taken for the truth",
    }
)


def list_fewshot(store: Store | None = None) -> dict[str, str]:
    """Names of the few-shot models on this machine with a line on each, trained first; loads no torch."""
    from napari_iseg.weights.store import list_models

    trained = {
        c.name: c.good_at or c.title for c in list_models(store) if c.backend == BACKEND and c.is_local
    }
    return {**trained, **METHODS}


def load_fewshot(
    name: str,
    *,
    device: str = "auto",
    precision: str = "auto",
    store: Store | None = None,
    second: FewShotModel | None = None,
) -> FewShotModel | UnitPredictor:
    """A few-shot model or baseline.

    Parameters
    ----------
    name : of a card or path of an IFSENet model; "training-free", or "training-free:NAME" with a timm
        encoder and its pretrained weights; "two-stage", or "two-stage:CLICK MODEL"; "copy-nearest";
        "interpolation". Ablations of an IFSENet model: "NAME:no-click-vector", "NAME:no-prior",
        "NAME:no-fit", "NAME:no-position"
    device, precision : as of `napari_iseg.load_model`
    second : what "two-stage" hands its masks to; by default a trained model, else the training-free profile

    Raises
    ------
    ModelNotFoundError
        For a name that nobody knows; InputError for a model that is no few-shot model.
    """
    if (device, precision) != ("auto", "auto"):
        _check_machine(device, precision)
    kind, _, detail = name.partition(":")
    if kind == "copy-nearest":
        return CopyNearest()
    if kind == "interpolation":
        return Interpolation()
    if kind == "training-free":
        return _training_free(detail, device, store)
    if kind == "two-stage":
        from napari_iseg.fewshot.two_stage import TwoStage
        from napari_iseg.weights.store import load_click_model

        clicks = load_click_model(detail or _CLICKS, device=device, precision=precision, store=store)
        return TwoStage(clicks, second or _best(device, precision, store))
    return _learned(name, device, precision, store)


def _check_machine(device: str, precision: str) -> None:
    """Wrong words are refused also where a method has no use for them."""
    from napari_iseg.backends.base import as_device
    from napari_iseg.backends.precision import chosen_precision

    chosen_precision(precision, as_device(device))


def _learned(name: str, device: str, precision: str, store: Store | None) -> FewShotModel:
    from napari_iseg.fewshot.learned import LearnedModel
    from napari_iseg.weights.store import load_model

    name, *ablated = name.split(":no-")
    try:
        model = load_model(name, device=device, precision=precision, store=store)
    except ModelNotFoundError:
        known = list_fewshot(store)
        if name in known:
            raise
        near = get_close_matches(name, known, n=2, cutoff=0.4) or list(known)
        raise ModelNotFoundError(
            f"There is no few-shot model {name!r}; use {' or '.join(map(repr, near))}."
        ) from None
    made = LearnedModel(
        model,
        interpolate="position" not in ablated,
        without=[part for part in ablated if part != "position"],
    )
    # its features and embeddings are opaque to whoever calls it by the protocol
    return cast("FewShotModel", made)


def _training_free(encoder: str, device: str, store: Store | None) -> FewShotModel:
    from napari_iseg.fewshot.pyramid import timm_encoder, trunk_encoder
    from napari_iseg.fewshot.training_free import TrainingFree

    made = timm_encoder(encoder, device) if encoder else trunk_encoder(_CLICKS, device, store)
    return cast("FewShotModel", TrainingFree(made))


def _best(device: str, precision: str, store: Store | None) -> FewShotModel:
    """The second stage of the shortcut: a trained model if there is one, else the training-free profile."""
    trained = next((name for name in list_fewshot(store) if name not in METHODS), None)
    if trained is not None:
        return _learned(trained, device, precision, store)
    return _training_free("", device, store)
