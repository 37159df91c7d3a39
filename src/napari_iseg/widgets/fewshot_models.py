"""The few-shot models that the dock offers, and how one is loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari_iseg.fewshot.base import UnitPredictor
from napari_iseg.weights.store import Store
from napari_iseg.widgets.fewshot_run import Loaded
from napari_iseg.widgets.preferences import Preferences
from napari_iseg.widgets.smooth_loading import torch_at_hand

LoadModel = Callable[[str, str], UnitPredictor]  # (name, device) -> predictor


class Loader:
    """Loads few-shot models by name."""

    def __init__(self, preferences: Preferences) -> None:
        self._preferences = preferences

    def __call__(self, name: str, device: str) -> Any:
        """The model as a predictor; slow."""
        cards = {card.name: card for card in Store(self._preferences.cache_folder).list_models()}
        if name in cards:  # by its folder, which may be one that only the preferences know
            name = str(cards[name].folder)
        with torch_at_hand():
            from napari_iseg.fewshot.predictors import describe

            return describe(name, device, self._preferences.precision).predictor(512 * 2**20)


def known_models(preferences: Preferences) -> dict[str, str]:
    """Names of the few-shot models of this machine, with a line on each."""
    from napari_iseg.fewshot.models import list_fewshot

    return list_fewshot(Store(preferences.cache_folder))


class Models:
    """The model that was used last stays loaded.

    Parameters
    ----------
    load : loads one by name and device; slow, so `get` is for the worker thread
    """

    def __init__(self, load: LoadModel) -> None:
        self._load = load
        self._last: Loaded | None = None

    def get(self, model: str, device: str) -> Loaded:
        """This one, loaded unless it was the last."""
        name = f"{model} on {device}"
        if self._last is None or self._last.name != name:
            self._last = Loaded(name, self._load(model, device))
        return self._last
