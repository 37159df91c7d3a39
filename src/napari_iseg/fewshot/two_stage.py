"""The two-stage shortcut that IFSENet argues against: a click model's mask taken for the truth."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_iseg.fewshot.answers import content_of
from napari_iseg.fewshot.base import (
    UNKNOWN,
    Embedding,
    Features,
    FewShotModel,
    Image,
    Labels,
    Position,
    Prediction,
    Support,
)
from napari_iseg.images import PlaneSource
from napari_iseg.interactive.predictor import Predictor
from napari_iseg.interactive.state import State
from napari_iseg.prompts import Click

if TYPE_CHECKING:
    from napari_iseg.backends.model import Model

Float = npt.NDArray[np.float32]
_KEPT = 32  # states of the click model: one more click on the same image is one more step


class TwoStage:
    """A few-shot model whose supports' clicks are first turned into masks by a click model.

    Parameters
    ----------
    clicks : the click model; knows nothing of the queries
    few_shot : gets its masks as if a person had painted them
    """

    def __init__(self, clicks: Model, few_shot: FewShotModel) -> None:
        self.clicks = clicks
        self.few_shot = few_shot
        self.divisor = few_shot.divisor
        self.identity = f"two-stage:{clicks.card.name}:{clicks.card.sha256[:12]}:{few_shot.identity}"
        self._states: OrderedDict[tuple[bytes, int], tuple[tuple[Click, ...], State]] = OrderedDict()

    def encode(self, image: Image) -> Features:
        """See `FewShotModel.encode`."""
        return self.few_shot.encode(image)

    def segment_support(self, support: Support, features: Features, labels: Sequence[int]) -> Prediction:
        """See `FewShotModel.segment_support`."""
        return self.few_shot.segment_support(self.masked(support, labels), features, labels)

    def embed(self, support: Support, features: Features, labels: Sequence[int]) -> Embedding:
        """See `FewShotModel.embed`."""
        return self.few_shot.embed(self.masked(support, labels), features, labels)

    def predict(
        self,
        features: Sequence[Features],
        positions: Sequence[Position],
        embeddings: Sequence[Embedding],
        labels: Sequence[int],
        previous: Sequence[Float | None] | None = None,
    ) -> list[Prediction]:
        """See `FewShotModel.predict`."""
        return self.few_shot.predict(features, positions, embeddings, labels, previous)

    def masked(self, support: Support, labels: Sequence[int]) -> Support:
        """The support with a mask instead of clicks; painted pixels stay as they are."""
        if not support.clicks or not (support.mask == UNKNOWN).any():
            return support
        mask: Labels = np.zeros(support.shape, np.int32)
        for label in labels:
            state = self._state(support, label)
            if state is not None:
                mask[state.probability > self.clicks.inference.threshold] = label
            for click in support.clicks_of(label):
                if click.positive:  # what was clicked on is the object, whatever the model says
                    mask[round(click.row), round(click.col)] = label
        known = support.mask != UNKNOWN
        mask[known] = support.mask[known]
        return replace(support, mask=mask, clicks=())

    def _state(self, support: Support, label: int) -> State | None:
        """The click model's answer to a label's clicks; goes on from the one before where it can."""
        clicks = support.clicks_of(label)
        key = content_of(support.image), label
        done, state = self._states.pop(key, ((), None))
        if clicks[: len(done)] != done:
            done, state = (), None
        predictor = Predictor(PlaneSource.wrap(support.image, rgb=True), self.clicks, context=None)
        for click in clicks[len(done) :]:
            state = predictor.step(state, click)
        if state is not None:
            self._states[key] = clicks, state
            if len(self._states) > _KEPT:
                self._states.popitem(last=False)
        return state
