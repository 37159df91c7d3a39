"""Honest baselines that look at masks only: copy the nearest slice, interpolate between slices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError
from napari_iseg.fewshot.base import (
    Image,
    Position,
    Prediction,
    Support,
    check_supports,
    distance,
)
from napari_iseg.fewshot.interpolation import along_axis, as_probability, interpolated

Float = npt.NDArray[np.float32]


class CopyNearest:
    """The mask of the nearest support, as it is."""

    identity = "copy-nearest"
    needs_image = False

    def predict_unit(
        self,
        image: Image | None,
        position: Position,
        supports: Sequence[Support],
        labels: Sequence[int],
        previous: Float | None = None,
    ) -> Prediction:
        """See `UnitPredictor.predict_unit`; of equally near supports the first counts."""
        del previous
        check_supports(supports, labels)
        check_sizes(image, supports, self.identity)
        nearest = min(supports, key=lambda s: distance(s.position, position))
        logits = np.stack([nearest.mask == label for label in labels]).astype(np.float32)
        return _prediction(logits)


class Interpolation:
    """Signed distances of the supports on either side, mixed by distance (Raya & Udupa 1990)."""

    identity = "interpolation"
    needs_image = False

    def predict_unit(
        self,
        image: Image | None,
        position: Position,
        supports: Sequence[Support],
        labels: Sequence[int],
        previous: Float | None = None,
    ) -> Prediction:
        """See `UnitPredictor.predict_unit`; beyond the last support its mask is copied."""
        del previous
        check_supports(supports, labels)
        check_sizes(image, supports, self.identity)
        places, place = along_axis([s.position for s in supports], position)
        maps = [
            as_probability(interpolated([s.mask == label for s in supports], places, place))
            for label in labels
        ]
        return _prediction(np.stack(maps))


def check_sizes(image: Image | None, supports: Sequence[Support], name: str) -> None:
    """Refuse supports that cannot be laid over the unit.

    Raises
    ------
    InputError
        When sizes differ.
    """
    shapes = {s.shape for s in supports} | ({image.shape[:2]} if image is not None else set())
    if len(shapes) > 1:
        raise InputError(
            f"The method {name} copies masks and needs all slices of one size, got {sorted(shapes)}; choose "
            "a model instead."
        )


def _prediction(maps: Float) -> Prediction:
    """Independent maps (L, H, W) in [0, 1] as a prediction; where they exceed 1 together they share."""
    total = maps.sum(0)
    shared = maps / np.maximum(total, 1)
    probability = np.concatenate([1 - shared.sum(0, keepdims=True), shared]).astype(np.float32)
    np.clip(probability, 0, 1, out=probability)
    presence = shared.reshape(len(shared), -1).max(1).astype(np.float32)
    return Prediction(probability, 0.5, presence)
