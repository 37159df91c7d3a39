"""Which model answers, and how it is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_iseg.errors import CheckpointError, DeviceError, ModelNotFoundError
from napari_iseg.widgets.guidance import NO_MODEL
from napari_iseg.widgets.model_loader import ModelKey, ModelLoader
from napari_iseg.widgets.options import Options

if TYPE_CHECKING:
    from napari_iseg.backends.model import Model


class ModelChoice:
    """The user's choice of a model and its options.

    Parameters
    ----------
    loader : loads models

    Attributes
    ----------
    key : the chosen model; None when there is none on this machine
    options : how it is run
    chosen : by the user, so that the model of a session does not replace it
    options_chosen : by the user, so that a model's own do not replace them
    prompts : what it takes
    """

    def __init__(self, loader: ModelLoader) -> None:
        self.key: ModelKey | None = None
        self.options = Options()
        self.prompts: tuple[str, ...] = ("click",)
        self._loader = loader
        self.chosen = self.options_chosen = False
        self._working: ModelKey | None = None  # loaded last
        # What went with each model when another was chosen, for `fall_back`.
        self._before: dict[str, tuple[Options, bool, tuple[str, ...]]] = {}

    @property
    def takes_boxes(self) -> bool:
        """Whether boxes are offered."""
        return "box" in self.prompts

    def choose(self, key: ModelKey, options: Options, prompts: Sequence[str] = ("click",)) -> bool:
        """Take another model, with its card's ``options`` unless only the device differs; is it new?"""
        if key == self.key:
            return False
        if self.key is not None and key.name != self.key.name:
            self._before[self.key.name] = self.options, self.options_chosen, self.prompts
            self.chosen = True
        if self.key is None or key.name != self.key.name:
            self.options, self.options_chosen = options, False
            self.prompts = tuple(prompts)
        self.key = key
        return True

    def choose_options(self, options: Options) -> None:
        """Take other options."""
        self.options, self.options_chosen = options, True

    def take(self, key: ModelKey, options: Options) -> None:
        """Take the model and options of a session that was opened."""
        self.key, self.options, self.options_chosen, self._working = key, options, True, key

    def adopt(self, model: Model, threshold: float) -> bool:
        """Take a session's model's options and its threshold unless the user chose some; are they new?"""
        own = replace(Options.of_model(model), threshold=threshold)
        if self.options_chosen or own == self.options:
            return False
        self.options = own
        return True

    def key_of(self, model: Model) -> ModelKey | None:
        """Under which key a session's model is chosen."""
        return None if self.key is None else self.key_named(model.card.name)

    def key_named(self, own: str) -> ModelKey:
        """Under which key the model named ``own`` is chosen: a file without a card goes by its path."""
        key = ModelKey(own) if self.key is None else self.key
        names = (key.name, *self._before)
        return replace(key, name=next((n for n in names if own in (n, Path(n).stem)), own))

    def is_that_of(self, model: Model) -> bool:
        """Whether a session's model is the chosen one, run as was chosen; a session has its own threshold."""
        run = replace(Options.of_model(model), threshold=self.options.threshold)
        return self.key_of(model) == self.key and not (self.options_chosen and run != self.options)

    def load(self) -> Model:
        """The model with its options; slow, for the worker.

        Raises
        ------
        IsegError
            There is none, or it cannot be loaded.
        """
        key = self.key
        if key is None:
            raise ModelNotFoundError(NO_MODEL)
        model = self._loader.load(key)
        self._working = key
        return model.with_inference(**self.options.as_inference()) if self.options_chosen else model

    def fall_back(self, error: Exception) -> ModelKey | None:
        """After ``error``: the model that a session still has, if the chosen one could not be loaded."""
        failed = isinstance(error, DeviceError | CheckpointError | ModelNotFoundError)
        if not failed or self._working is None or self._working == self.key:
            return None
        known = self._before.get(self._working.name)
        if known is not None and self.key is not None and self.key.name != self._working.name:
            self.options, self.options_chosen, self.prompts = known
        self.key = self._working
        return self.key
