"""A few-shot model as what a run asks for: units from supports, encodings and embeddings kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from napari_iseg.disk_cache import DiskCache
from napari_iseg.errors import InputError
from napari_iseg.fewshot.base import Embedding, FewShotModel, Image, Position, Prediction, Support
from napari_iseg.fewshot.corrections import beside_painted
from napari_iseg.fewshot.feature_cache import FeatureCache

_SHARE = 4  # embeddings together take at most a fourth of what encoded images may
_LEAST = 32  # are kept even so: a unit is made from up to 16 supports
_FIXED = 1 << 20  # bytes of an embedding that do not depend on its size


class ModelPredictor:
    """Makes a ``FewShotModel`` a ``UnitPredictor``.

    Parameters
    ----------
    model : FewShotModel
    cache : of encoded images, perhaps shared with a viewer
    """

    needs_image = True

    def __init__(self, model: FewShotModel, cache: FeatureCache) -> None:
        self.model, self.cache = model, cache
        self.identity = model.identity
        self._embeddings: OrderedDict[tuple[object, ...], Embedding] = OrderedDict()
        self._sizes: dict[tuple[object, ...], int] = {}

    def predict_unit(
        self,
        image: Image | None,
        position: Position,
        supports: Sequence[Support],
        labels: Sequence[int],
        previous: npt.NDArray[np.float32] | None = None,
    ) -> Prediction:
        """Predict one unit; see ``UnitPredictor``."""
        return self.predict_units([image], [position], supports, labels, [previous])[0]

    def predict_units(
        self,
        images: Sequence[Image | None],
        positions: Sequence[Position],
        supports: Sequence[Support],
        labels: Sequence[int],
        previous: Sequence[npt.NDArray[np.float32] | None] | None = None,
    ) -> list[Prediction]:
        """Predict several units from the same supports in one call of the model."""
        features = []
        for image in images:
            if image is None:
                raise InputError(f"The model {self.identity} needs the images of its units.")
            features.append(self.cache.get(self.model, image))
        embeddings = [self._embedding(support, labels) for support in beside_painted(supports)]
        given = previous if previous is not None and any(p is not None for p in previous) else None
        return self.model.predict(features, positions, embeddings, labels, given)

    def keep_features(self, disk: DiskCache) -> None:
        """Keep encodings on disk from now on, and look for them there."""
        self.cache.disk = disk

    def reliability(self, support: Support, labels: Sequence[int]) -> float:
        """How far a support is to be relied on, 0 to 1."""
        return self._embedding(support, labels).reliability

    def _embedding(self, support: Support, labels: Sequence[int]) -> Embedding:
        # a position is no part of a version: the user may set another spacing between two runs
        key = (support.key, support.version, support.position, support.whole, tuple(labels))
        if key not in self._embeddings:
            features = self.cache.get(self.model, support.image)
            self._embeddings[key] = self.model.embed(support, features, labels)
            self._sizes[key] = support.mask.size * (4 + 2 * (2 * len(labels) + 1)) + _FIXED
            while len(self._sizes) > _LEAST and sum(self._sizes.values()) > self.cache.limit // _SHARE:
                del self._sizes[self._embeddings.popitem(last=False)[0]]
        self._embeddings.move_to_end(key)
        return self._embeddings[key]
