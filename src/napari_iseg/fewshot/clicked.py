"""Masks of clicked supports by a click network: one click after the other, in windows around the object."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_iseg.fewshot.answers import content_of
from napari_iseg.fewshot.base import Image
from napari_iseg.images import PlaneSource
from napari_iseg.interactive.predictor import Predictor
from napari_iseg.interactive.state import State
from napari_iseg.prompts import Click

if TYPE_CHECKING:
    from napari_iseg.backends.model import Model

# Of whole planes these are large, and it is one or two supports that somebody clicks on.
_KEPT_IMAGES = 2
_KEPT = 8  # states: one more click on the same image is one more step


class ClickedMasks:
    """The answers of one click network.

    Parameters
    ----------
    model : asked as its inference settings say
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._predictors: OrderedDict[bytes, Predictor] = OrderedDict()
        self._states: OrderedDict[tuple[bytes, int], tuple[tuple[Click, ...], State]] = OrderedDict()

    def state(
        self,
        image: Image,
        clicks: Sequence[Click],
        label: int,
        against: Sequence[Click] = (),
        revised: Callable[[State], State] | None = None,
    ) -> State | None:
        """What is known after the clicks, with the probability (H, W); None without one. Goes on from before.

        Parameters
        ----------
        image : (H, W, 3) float32 in [0, 1]
        clicks : in the order in which they were made
        label : whose they are; states are kept per image and label
        revised : called after every click; what it returns is gone on from
        against : what is known to be something else; asked where the mask says otherwise
        """
        clicks, content = tuple(clicks), content_of(image)
        key = content, label
        done, state = self._states.pop(key, ((), None))
        if clicks[: len(done)] != done:
            done, state = (), None
        predictor = self._predictor(image, content)
        for click in clicks[len(done) :]:
            state = predictor.step(state, click)
            state = state if revised is None else revised(state)
        if state is None:
            return None
        self._states[key] = clicks, state
        if len(self._states) > _KEPT:
            self._states.popitem(last=False)
        for click in against:
            if state.probability[round(click.row), round(click.col)] > self.model.inference.threshold:
                state = predictor.step(state, replace(click, positive=False))
        return state

    def _predictor(self, image: Image, content: bytes) -> Predictor:
        """Of an image; kept, because reading and stretching it takes as long as the network."""
        found = self._predictors.pop(content, None)
        if found is None:
            found = Predictor(PlaneSource.wrap(image, rgb=True), self.model, context=None)
        self._predictors[content] = found
        if len(self._predictors) > _KEPT_IMAGES:
            self._predictors.popitem(last=False)
        return found
