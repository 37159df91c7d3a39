"""What the click loop needs of a method, and models as such methods."""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError
from napari_iseg.evaluation.how_run import told_name
from napari_iseg.images import PlaneSource
from napari_iseg.interactive.predictor import Predictor
from napari_iseg.interactive.state import State
from napari_iseg.prompts import Box, Click, Window

if TYPE_CHECKING:
    from napari_iseg.backends.model import Model


class ClickMethod(Protocol):
    """Anything that answers clicks: a model, a baseline, a method of your own."""

    name: str  # in reports
    threshold: float  # a pixel is object where the probability is larger

    def start(self, image: npt.NDArray[Any]) -> None:
        """Begin a new object on ``image``, (H, W) or (H, W, C); the same array again for the next."""

    def click(self, row: float, col: float, positive: bool) -> npt.NDArray[np.floating]:
        """The probability (H, W) of the object after one more click."""


def check_method(method: Any) -> None:
    """Refuse an object that has not all that `ClickMethod` names, before any click."""
    name, threshold = getattr(method, "name", None), getattr(method, "threshold", None)
    lacking = [f"{word}()" for word in ("start", "click") if not callable(getattr(method, word, None))]
    if not isinstance(name, str):
        lacking.append("a name (a string)")
    if isinstance(threshold, bool) or not isinstance(threshold, Real) or not math.isfinite(threshold):
        lacking.append("a threshold (a number; a pixel is object where the probability is larger)")
    if isinstance(method, type):
        raise InputError(f"A click method is an object; make one of the class: {method.__name__}().")
    if lacking:
        raise InputError(
            "A click method has start(image), click(row, col, positive), a name and a threshold; give this "
            f"{type(method).__name__} also {' and '.join(lacking)}."
        )


def mask_of(answer: Any, method: ClickMethod, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """(H, W) bool: where what ``click`` answered is above the method's threshold.

    Raises
    ------
    InputError
        When the answer is no probability for each pixel of ``shape``.
    """
    values = np.asarray(answer)
    found = f"{values.dtype} of shape {values.shape}"
    if values.shape == shape and values.dtype.kind in "buif":
        if values.dtype.kind != "f" or not np.isnan(values).any():
            return np.asarray(values > method.threshold)
        found = "NaN in it"
    raise InputError(
        f"The method {method.name!r} must answer a click with a probability for each of {shape[0]} x "
        f"{shape[1]} pixels, got {found}; see its click()."
    )


class ModelMethod:
    """A model run by the published rules on the whole image, however large.

    Its name tells the settings in which it is not run as its card says.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.name = told_name(model)
        self.threshold = model.inference.threshold
        self._image: npt.NDArray[Any] | None = None
        self._predictor: Predictor | None = None
        self._state: State | None = None

    def start(self, image: npt.NDArray[Any]) -> None:
        """Begin a new object; the image is prepared once for all its objects."""
        if self._predictor is None or image is not self._image:
            self._image = image
            self._predictor = Predictor(as_source(image), self.model, context=None)
        self._state = None

    def click(self, row: float, col: float, positive: bool) -> npt.NDArray[np.float32]:
        """The probability (H, W) after one more click."""
        assert self._predictor is not None, "start() comes first"
        self._state = self._predictor.step(self._state, Click(row, col, positive))
        return self._state.probability

    @property
    def window(self) -> Window | None:
        """The network's present window on the object, in pixels; None where there is none yet."""
        return None if self._state is None else self._state.zoom

    def box(self, box: Box) -> npt.NDArray[np.float32]:
        """The probability (H, W) of the object in a box, before any click; for models that take boxes."""
        assert self._predictor is not None, "start() comes first"
        self._state = self._predictor.step(None, None, box=box)
        return self._state.probability


def as_source(image: npt.NDArray[Any]) -> PlaneSource:
    """An image of a data set, (H, W) or (H, W, C), as a source of RGB windows."""
    if image.ndim == 2:
        return PlaneSource.wrap(image)
    if image.shape[2] in (3, 4):
        return PlaneSource.wrap(image, rgb=True)
    return PlaneSource.wrap(image, channel_axis=2, bands=range(min(3, image.shape[2])))
