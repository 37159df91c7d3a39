"""The training-free profile: prototypes, a pixel head and position, weighed by leaving supports out.

Score of a label per pixel: ``a * head + b * (LSE(cos fg / tau) - LSE(cos bg / tau)) + c * position + d``,
position being the interpolated signed distance. With several supports a, b, c, d are fitted on pixels of
each support that was left out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from napari_iseg.backends.precision import answering
from napari_iseg.errors import InputError
from napari_iseg.fewshot.answers import (
    certainty,
    content_of,
    finite_image,
    same_image,
    softmax_with_background,
    with_known,
)
from napari_iseg.fewshot.base import UNKNOWN, Image, Position, Prediction, Support
from napari_iseg.fewshot.collect import NO_BACKGROUND
from napari_iseg.fewshot.free_embedding import FreeEmbedding, make_embedding, prototype_scores
from napari_iseg.fewshot.free_fit import Fitted, fit, position_level
from napari_iseg.fewshot.packed import encoding, pack, unpack
from napari_iseg.fewshot.pixel_head import guided
from napari_iseg.fewshot.positional import position_scores
from napari_iseg.fewshot.pyramid import Pyramid, PyramidEncoder, make_pyramid
from napari_iseg.nn.ifsenet import padded

Float = npt.NDArray[np.float32]
_KEPT_FITS = 8


class TrainingFree:
    """A `FewShotModel` on any frozen encoder.

    Parameters
    ----------
    encoder : see `pyramid.trunk_encoder` and `pyramid.timm_encoder`
    """

    def __init__(self, encoder: PyramidEncoder) -> None:
        self.encoder = encoder
        self.divisor = encoder.divisor
        self.identity = f"training-free:2:{encoder.identity}"
        self._fits: OrderedDict[tuple[object, ...], Fitted] = OrderedDict()

    @answering()
    def encode(self, image: Image) -> Pyramid:
        """See `FewShotModel.encode`."""
        pixels = np.ascontiguousarray(finite_image(image).transpose(2, 0, 1))
        whole = padded(torch.from_numpy(pixels)[None], self.divisor).to(self.encoder.device)
        return make_pyramid(self.encoder, whole, (image.shape[0], image.shape[1]), content_of(image))

    @property
    def encoding(self) -> str:
        """See `Storable`."""
        return encoding(self.identity, self.encoder.device)

    def pack(self, features: Pyramid) -> dict[str, npt.NDArray[Any]]:
        """See `Storable`."""
        return pack(features)

    def unpack(self, arrays: Mapping[str, npt.NDArray[Any]]) -> Pyramid:
        """See `Storable`."""
        return unpack(Pyramid, arrays)

    @answering()
    def segment_support(self, support: Support, features: Pyramid, labels: Sequence[int]) -> Prediction:
        """See `FewShotModel.segment_support`: what its own clicks and pixels say of the rest of it."""
        if features.shape != support.shape:
            raise InputError(
                f"The features are of an image of {features.shape}, the support {support.key} is "
                f"{support.shape}."
            )
        present = np.array([label in support.labels for label in labels])
        logits = np.zeros((len(labels), *support.shape), np.float32)
        everything = not (support.mask == UNKNOWN).any()
        if not everything and present.any():
            made = make_embedding(support, features, labels, None)
            logits = self._logits(features, (), [made], len(labels), None)
        probability = with_known(softmax_with_background(logits, present), support, labels)
        trust = 1.0 if everything else float(np.abs(2 * probability[0] - 1).mean())
        return Prediction(probability, trust, present.astype(np.float32))

    @answering()
    def embed(self, support: Support, features: Pyramid, labels: Sequence[int]) -> FreeEmbedding:
        """See `FewShotModel.embed`."""
        own = self.segment_support(support, features, labels)
        return make_embedding(support, features, labels, own)

    @answering()
    def predict(
        self,
        features: Sequence[Pyramid],
        positions: Sequence[Position],
        embeddings: Sequence[FreeEmbedding],
        labels: Sequence[int],
        previous: Sequence[Float | None] | None = None,
    ) -> list[Prediction]:
        """See `FewShotModel.predict`."""
        present = np.array([any(e.present[i] for e in embeddings) for i in range(len(labels))])
        if not present.any():
            raise InputError(
                "No support has a positive click or a painted pixel of the labels asked for; click on an "
                "object once."
            )
        if len(labels) == 1 and not any((e.targets == 0).any() for e in embeddings):
            raise InputError(NO_BACKGROUND)  # a classifier of one class
        priors: Sequence[Float | None] = previous or [None] * len(features)
        answers = []
        for feature, position, prior in zip(features, positions, priors, strict=True):
            known = same_image(feature.content, embeddings)
            if known is None:
                logits = self._logits(feature, position, embeddings, len(labels), prior)
                known = _prediction(logits, present)
            answers.append(known)
        return answers

    def _logits(
        self,
        features: Pyramid,
        position: Position,
        embeddings: Sequence[FreeEmbedding],
        count: int,
        previous: Float | None,
    ) -> Float:
        """(L, H, W) logits against background."""
        fitted = self._fitted(embeddings, count)
        rows, cols = features.shape
        outlines = [e.outlines for e in embeddings]
        where = position_scores(outlines, position, features.shape, previous, count)
        head = fitted.head.maps((*features.levels, position_level(where, features.half, count)))
        near = prototype_scores(features.deep.float(), embeddings, count)
        near = F.interpolate(near[None], size=features.half, mode="bilinear", align_corners=False)[0]
        a, b, c, d = fitted.weights
        smooth = guided(a * head + b * near, features.guide.float() / 255)[:, :rows, :cols]
        if where is None:
            return (smooth + d).numpy()
        logits: Float = (smooth + d).numpy() + c * where
        return logits

    def _fitted(self, embeddings: Sequence[FreeEmbedding], count: int) -> Fitted:
        """The head for this set of supports, kept: neighbouring units have the same set."""
        key = tuple(
            sorted((e.support.key, e.version, e.content, e.digest, e.support.position) for e in embeddings)
        )
        if key not in self._fits:
            self._fits[key] = fit(sorted(embeddings, key=lambda e: (e.support.key, e.version)), count)
            if len(self._fits) > _KEPT_FITS:
                self._fits.popitem(last=False)
        self._fits.move_to_end(key)
        return self._fits[key]


def _prediction(logits: Float, present: npt.NDArray[np.bool_]) -> Prediction:
    probability = softmax_with_background(logits, present)
    blurred = F.avg_pool2d(torch.from_numpy(probability[1:])[None], 5, 1, 2)[0]
    presence = blurred.flatten(1).amax(1).numpy().astype(np.float32)
    if probability[1:].max() <= 0.5:
        return Prediction(probability, float(1 - presence.max()), presence)
    # No alignment check: an encoder not trained for it does not give supports back, even from a right answer.
    return Prediction(probability, certainty(probability), presence)
