"""The two-stage shortcut that IFSENet argues against: a click model's mask taken for the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

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
from napari_iseg.fewshot.clicked import ClickedMasks

if TYPE_CHECKING:
    from napari_iseg.backends.model import Model

Float = npt.NDArray[np.float32]


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
        how = blake2b(repr(clicks.inference).encode(), digest_size=4).hexdigest()
        self.identity = f"two-stage:{clicks.card.name}:{clicks.card.sha256[:12]}:{how}:{few_shot.identity}"
        self._masks = ClickedMasks(clicks)

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
            clicks = support.clicks_of(label)
            state = self._masks.state(support.image, clicks, label)
            if state is not None:
                mask[state.probability > self.clicks.inference.threshold] = label
            for click in clicks:
                if click.positive:  # what was clicked on is the object, whatever the model says
                    mask[round(click.row), round(click.col)] = label
        known = support.mask != UNKNOWN
        mask[known] = support.mask[known]
        return replace(support, mask=mask, clicks=())
