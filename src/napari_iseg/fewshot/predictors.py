"""Few-shot models and baselines by name, here and in worker processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from napari_iseg.fewshot.adapter import ModelPredictor
from napari_iseg.fewshot.base import FewShotModel, UnitPredictor
from napari_iseg.fewshot.feature_cache import FeatureCache


@dataclass(frozen=True)
class Described:
    """A predictor that is loaded here, and how another process opens the same one.

    Attributes
    ----------
    model : FewShotModel or UnitPredictor
    opener : (device, bytes for encoded images) -> UnitPredictor; picklable for a name
    """

    model: FewShotModel | UnitPredictor
    opener: Callable[[str, int], UnitPredictor]

    @property
    def identity(self) -> str:
        """Of weights and settings."""
        return self.model.identity

    @property
    def on_grid(self) -> bool:
        """Whether it copies masks, so that supports must be cut like the units."""
        return not getattr(self.model, "needs_image", True)

    def predictor(self, features: int) -> UnitPredictor:
        """The model that is loaded here as a predictor."""
        return adapted(self.model, features)


def describe(model: str | FewShotModel | UnitPredictor, device: str, precision: str) -> Described:
    """Load a model by name, or take one that is loaded.

    Raises
    ------
    ModelNotFoundError
        For a name that nobody knows.
    """
    if isinstance(model, str):
        loaded = _load(model, device, precision)
        return Described(loaded, partial(_open, model, precision))
    return Described(model, partial(_given, model))


def adapted(model: FewShotModel | UnitPredictor, features: int) -> UnitPredictor:
    """A model as a predictor that keeps at most ``features`` bytes of encodings; a predictor as it is."""
    if hasattr(model, "predict_unit"):
        predictor: Any = model
        return predictor  # type: ignore[no-any-return]
    assert not hasattr(model, "predict_unit")
    return ModelPredictor(model, FeatureCache(features))  # type: ignore[arg-type]


def _open(name: str, precision: str, device: str, features: int) -> UnitPredictor:
    return adapted(_load(name, device, precision), features)


def _given(model: FewShotModel | UnitPredictor, device: str, features: int) -> UnitPredictor:  # noqa: ARG001
    return adapted(model, features)


def _load(name: str, device: str, precision: str) -> FewShotModel | UnitPredictor:
    from napari_iseg.fewshot.models import load_fewshot
    from napari_iseg.nn.triton_guard import keep_triton_out

    keep_triton_out()  # the models' own libraries may load it, and this may be a viewer's process
    return load_fewshot(name, device=device, precision=precision)
