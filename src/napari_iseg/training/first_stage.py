"""Coarse masks for training IS5Net from the model that will stand before it, as published (there a SAM)."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_iseg.evaluation.boxes import box_of, shaken
from napari_iseg.evaluation.clicks import ClickSimulator
from napari_iseg.evaluation.methods import ModelMethod

if TYPE_CHECKING:
    from napari_iseg.backends.model import Model

_NOISE = 0.05  # of the box's corners, as a share of its sides: nobody draws the exact box


class FirstStage:
    """Asks a click or box model for the object of a training window; may be used from several threads.

    Parameters
    ----------
    name : of the model, or a checkpoint's path; loaded when it is first asked
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._model: Model | None = None
        self._lock = Lock()

    def mask(
        self, image: npt.NDArray[np.uint8], truth: npt.NDArray[np.bool_], rng: np.random.Generator
    ) -> npt.NDArray[np.bool_]:
        """The model's mask (S, S) bool: from a box that is nearly the true one, or from one click.

        Parameters
        ----------
        image : (S, S, 3) uint8
        truth : (S, S) bool, not empty
        """
        model = self._loaded()
        method = ModelMethod(model)
        method.start(image)
        if "box" in model.card.prompts:
            found = method.box(shaken(box_of(truth), _NOISE, rng))
        else:
            click = ClickSimulator(truth.astype(np.int8)).next(np.zeros_like(truth))
            found = method.click(click.row, click.col, click.positive)
        return np.asarray(found > method.threshold)

    def _loaded(self) -> Model:
        from napari_iseg.weights.store import load_click_model

        with self._lock:
            if self._model is None:
                self._model = load_click_model(self.name, precision="float32")
            return self._model
