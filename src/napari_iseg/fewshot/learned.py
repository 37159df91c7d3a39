"""IFSENet as a few-shot model: features in half precision, supports' embeddings, queries one at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_iseg.backends.precision import answering
from napari_iseg.errors import InputError
from napari_iseg.fewshot.answers import (
    agreement,
    certainty,
    content_of,
    finite_image,
    nothing,
    same_image,
    softmax_with_background,
    with_known,
)
from napari_iseg.fewshot.base import UNKNOWN, Image, Position, Prediction, Support, distance
from napari_iseg.fewshot.packed import encoding, pack, unpack
from napari_iseg.fewshot.positional import LIMIT, Outlines, position_scores
from napari_iseg.fewshot.selfcheck import Checkable, explained
from napari_iseg.fewshot.support_masks import SupportMasks
from napari_iseg.nn.ifsenet import IfseNet, padded, support_log_weights
from napari_iseg.nn.ifsenet_embedding import Encoded, LabelEmbedding
from napari_iseg.nn.ifsenet_match import to_cells
from napari_iseg.nn.ifsenet_query import Condition

if TYPE_CHECKING:
    from napari_iseg.backends.model import Model

Float = npt.NDArray[np.float32]
PARTS = ("click-vector", "prior", "fit")  # what `without` may name
_MOST_SUPPORTS = 16
_REVISION = 4  # of how answers come about: runs that were begun with another one are not continued
_ALIGNED, _CERTAIN, _AGREED = 0.2, 0.4, 0.4  # opinions on a query's mask that make up its trust
_RIM = 3  # pixels to either side of an outline in which a predicted mask's certainty is measured


@dataclass(frozen=True, eq=False)
class LearnedFeatures:
    """The maps of `Encoded` for the padded image, float16 on the CPU; ``content`` tells equal images."""

    m: Tensor
    f1: Tensor
    h: Tensor
    texture: Tensor
    shape: tuple[int, int]
    content: bytes

    @property
    def nbytes(self) -> int:
        """Bytes of the maps."""
        return sum(t.numel() * t.element_size() for t in (self.m, self.f1, self.h, self.texture))


@dataclass(frozen=True, eq=False)
class LearnedEmbedding:
    """One support for some labels.

    ``probability`` (L + 1, H, W) float16 is the support's own answer; ``check`` is what queries are checked
    with.
    """

    support: Support
    content: bytes
    labels: tuple[LabelEmbedding, ...]
    summary: Tensor
    reliability: float
    probability: npt.NDArray[np.float16]
    outlines: Outlines | None
    check: Checkable

    @property
    def version(self) -> int:
        """Of the support."""
        return self.support.version


class LearnedModel:
    """A trained `IfseNet` behind the few-shot protocol.

    Parameters
    ----------
    model : whose network is an IFSENet
    eager : a label is taken as present where its presence exceeds this; lower finds more, and more wrongly
    interpolate : give interpolated masks of neighbouring planes as a prior where nothing else is given
    without : parts left out, for ablations: "click-vector", "prior", "fit"

    Raises
    ------
    InputError
        For a model that is no IFSENet, or an unknown part.
    """

    def __init__(
        self, model: Model, *, eager: float = 0.5, interpolate: bool = True, without: Sequence[str] = ()
    ) -> None:
        if not isinstance(model.net, IfseNet):
            raise InputError(f"The model {model.card.name} is no few-shot model; choose an IFSENet model.")
        unknown = sorted(set(without) - set(PARTS))
        if unknown:
            raise InputError(
                f"IFSENet has no part {unknown[0]!r} to leave out; there are {', '.join(PARTS)}."
            )
        self.without = frozenset(without)
        self.model, self.net = model, model.net
        self.support_masks = SupportMasks(model)
        self.device = model.device
        self.eager = eager
        self.interpolate = interpolate
        self.divisor = self.net.divisor
        self.name = model.card.name
        self.identity = f"{self.name}:{_digest(self.net)}:{_REVISION}:eager={eager}:interpolate={interpolate}"
        self.identity += self.support_masks.identity
        if model.precision != "float32":
            self.identity += f":{model.precision}"
        if self.without:
            self.identity += f":without={','.join(sorted(self.without))}"

    @answering()
    def encode(self, image: Image) -> LearnedFeatures:
        """See `FewShotModel.encode`."""
        encoded = self.model.run(self.net.encode, padded(self._tensor(image), self.divisor))
        one = encoded.row(0)
        m, f1, h, texture = (t.half().cpu().contiguous() for t in (one.m, one.f1, one.h, one.texture))
        return LearnedFeatures(m, f1, h, texture, (image.shape[0], image.shape[1]), content_of(image))

    @property
    def encoding(self) -> str:
        """See `Storable`."""
        return encoding(self.identity, self.device)

    def pack(self, features: LearnedFeatures) -> dict[str, npt.NDArray[Any]]:
        """See `Storable`."""
        return pack(features)

    def unpack(self, arrays: Mapping[str, npt.NDArray[Any]]) -> LearnedFeatures:
        """See `Storable`."""
        return unpack(LearnedFeatures, arrays)

    @answering()
    def segment_support(
        self, support: Support, features: LearnedFeatures, labels: Sequence[int]
    ) -> Prediction:
        """See `FewShotModel.segment_support`: the support path, once per clicked label."""
        _check_size(support, features)
        logits = np.full((len(labels), *support.shape), -4.0, np.float32)
        image = padded(self._tensor(support.image), self.divisor)
        present = np.zeros(len(labels), bool)
        for row, label in enumerate(labels):
            present[row] = bool((support.mask == label).any())
            if any(c.positive for c in support.clicks_of(label)) and (support.mask == UNKNOWN).any():
                present[row] = True
                logits[row] = self.support_masks.logits(
                    support,
                    label,
                    labels,
                    image=image,
                    encoded=lambda: self._half_to_device(features),
                    content=features.content,
                )
        probability = with_known(softmax_with_background(logits, present), support, labels)
        trust = 1.0 if not (support.mask == UNKNOWN).any() else _certainty(probability, support)
        return Prediction(probability, trust, present.astype(np.float32))

    @answering()
    def embed(self, support: Support, features: LearnedFeatures, labels: Sequence[int]) -> LearnedEmbedding:
        """See `FewShotModel.embed`."""
        own = self.segment_support(support, features, labels)
        encoded = self._half_to_device(features)
        probability = torch.from_numpy(own.probability).to(self.device)
        known = torch.from_numpy(self._known(support, labels)).to(self.device)
        # Ours: what the support path drew counts as drawn; its doubt is told by ``reliability`` alone.
        drawn = probability == probability.amax(0)
        made = []
        for row, label in enumerate(labels, 1):
            inside = drawn[row] * known
            clicks = support.clicks_of(label)
            points = [
                torch.tensor(
                    [(c.row, c.col) for c in clicks if c.positive is sign],
                    device=self.device,
                    dtype=torch.float32,
                )
                for sign in (True, False)
            ]
            outside = ~drawn[row] * known
            pads = [padded(t[None, None], self.divisor)[0, 0] for t in (inside, outside)]
            embedded = self.net.embed(encoded.row(0), pads[0], pads[1], points[0], points[1])
            embedded = replace(embedded, present=bool(own.presence[row - 1] > 0))
            if "click-vector" in self.without:
                embedded = replace(embedded, click=torch.zeros_like(embedded.click), positives=0)
            made.append(embedded)
        masks = [own.probability[row] > 0.5 for row in range(1, len(labels) + 1)]
        cells = padded((probability[1:] * known)[None], self.divisor)[0]
        return LearnedEmbedding(
            support.without_image(),
            features.content,
            tuple(made),
            encoded.m[0].mean((1, 2)),
            self._reliability(support, own),
            own.probability.astype(np.float16),
            Outlines.of(support, masks),
            Checkable.of(encoded.m[0], torch.stack([to_cells(c, encoded.m.shape[-2:]) for c in cells])),
        )

    @answering()
    def predict(
        self,
        features: Sequence[LearnedFeatures],
        positions: Sequence[Position],
        embeddings: Sequence[LearnedEmbedding],
        labels: Sequence[int],
        previous: Sequence[Float | None] | None = None,
    ) -> list[Prediction]:
        """See `FewShotModel.predict`. One image at a time: the answer must not depend on the batch."""
        wanted = [i for i in range(len(labels)) if any(e.labels[i].present for e in embeddings)]
        if not wanted:
            raise InputError(
                "No support has a positive click or a painted pixel of the labels asked for; click on an "
                "object once."
            )
        priors: Sequence[Float | None] = previous or [None] * len(features)
        return [
            self._one(feature, position, embeddings, len(labels), wanted, prior)
            for feature, position, prior in zip(features, positions, priors, strict=True)
        ]

    def _one(
        self,
        features: LearnedFeatures,
        position: Position,
        embeddings: Sequence[LearnedEmbedding],
        count: int,
        wanted: list[int],
        previous: Float | None,
    ) -> Prediction:
        known = same_image(features.content, embeddings)
        if known is not None:
            return known
        encoded = self._half_to_device(features)
        outlines = [e.outlines for e in embeddings] if self.interpolate else []
        prior = position_scores(outlines, position, features.shape, previous, count)
        logs = self._log_weights(encoded.m[0], position, embeddings)
        kept = logs.topk(min(_MOST_SUPPORTS, len(embeddings))).indices.sort().values.tolist()
        chosen, logs = [embeddings[i] for i in kept], logs[kept].log_softmax(0)
        wanted = [i for i in wanted if any(e.labels[i].present for e in chosen)]
        condition = self._condition(encoded, chosen, logs, wanted, prior)
        size = encoded.f1.shape[-2] * 4, encoded.f1.shape[-1] * 4
        logits, answer = self.net.query(encoded.repeat(len(wanted)), condition, size)
        rows, cols = features.shape
        whole = nothing(features.shape, count)
        presence = whole.presence
        presence[wanted] = answer.presence.sigmoid().float().cpu().numpy()
        everything = np.zeros((count, rows, cols), np.float32)
        everything[wanted] = logits[:, 0, :rows, :cols].float().cpu().numpy()
        there = np.zeros(count, bool)
        there[wanted] = presence[wanted] > self.eager
        probability = softmax_with_background(everything, there)
        trust = self._trust(encoded, probability, chosen, logs, presence)
        return Prediction(probability, trust, presence)

    def _condition(
        self,
        encoded: Encoded,
        embeddings: Sequence[LearnedEmbedding],
        logs: Tensor,
        wanted: Sequence[int],
        prior: Float | None,
    ) -> Condition:
        query = encoded.row(0)
        near = query.f1.new_zeros(len(wanted), 1, *(4 * n for n in query.f1.shape[-2:]))
        if prior is not None:
            maps = torch.from_numpy(prior[list(wanted)] / LIMIT).to(self.device)[:, None]
            near = padded(maps, self.divisor)
        pairs = []
        for label, previous in zip(wanted, near, strict=True):
            others = [e.labels[i].foreground for e in embeddings for i in wanted if i != label]
            pairs.append(
                self.net.condition(
                    query,
                    [e.labels[label] for e in embeddings],
                    [e.reliability for e in embeddings],
                    logs,
                    previous,
                    torch.cat(others) if others else None,
                )
            )
        condition = Condition.stack(pairs)
        if "prior" in self.without:
            condition = replace(condition, prior=torch.zeros_like(condition.prior))
        if "fit" in self.without:
            condition = replace(condition, fitted=torch.zeros_like(condition.fitted))
        return condition

    def _log_weights(self, m: Tensor, position: Position, embeddings: Sequence[LearnedEmbedding]) -> Tensor:
        """Section 3.6; the reach of distance is the median gap between the supports."""
        summaries = torch.stack([e.summary for e in embeddings])
        likeness = torch.nn.functional.cosine_similarity(summaries, m.mean((1, 2))[None], dim=1)
        gaps = [
            min(distance(a.support.position, b.support.position) for b in embeddings if b is not a)
            for a in embeddings
            if len(embeddings) > 1
        ]
        return support_log_weights(
            [e.reliability for e in embeddings],
            likeness,
            [distance(e.support.position, position) for e in embeddings],
            float(np.median(gaps)) if gaps else 0.0,
        )

    def _trust(
        self,
        encoded: Encoded,
        probability: Float,
        embeddings: Sequence[LearnedEmbedding],
        logs: Tensor,
        presence: Float,
    ) -> float:
        if probability[1:].max() <= 0.5:  # nothing found: trusted as far as the label seems absent
            return float(1 - presence.max())
        whole = padded(torch.from_numpy(probability)[None].to(self.device), self.divisor)[0]
        shares = torch.stack([to_cells(row, encoded.m.shape[-2:]) for row in whole])
        aligned = explained(encoded.m[0], shares, [e.check for e in embeddings], logs.exp())
        return _ALIGNED * aligned + _CERTAIN * certainty(probability) + _AGREED * agreement(probability)

    def _reliability(self, support: Support, own: Prediction) -> float:
        if support.accepted or not (support.mask == UNKNOWN).any() or not support.clicks:
            return 1.0
        return own.trust * min(1.0, len(support.clicks) / 3)

    def _known(self, support: Support, labels: Sequence[int]) -> Float:
        """1 where the support's answer may be learned from: painted pixels, everything once it is clicked."""
        clicked = any(label in labels and click.positive for label, click in support.clicks)
        if clicked:
            return np.ones(support.shape, np.float32)
        known: Float = (support.mask != UNKNOWN).astype(np.float32)
        return known

    def _half_to_device(self, features: LearnedFeatures) -> Encoded:
        maps = (features.m, features.f1, features.h, features.texture)
        return Encoded(*(t[None].to(self.device).float() for t in maps))

    def _tensor(self, image: Image) -> Tensor:
        pixels = np.ascontiguousarray(finite_image(image).transpose(2, 0, 1))
        return torch.from_numpy(pixels)[None].to(self.device)


def _certainty(probability: Float, support: Support) -> float:
    """Mean certainty of a predicted mask near its outline."""
    from scipy.ndimage import binary_dilation, binary_erosion

    inside = probability[1:].sum(0) > 0.5
    rim = binary_dilation(inside, iterations=_RIM) & ~binary_erosion(inside, iterations=_RIM, border_value=1)
    rim &= support.mask == UNKNOWN
    certain = np.abs(2 * probability[0] - 1)
    return float(certain[rim].mean()) if rim.any() else float(certain.mean())


def _check_size(support: Support, features: LearnedFeatures) -> None:
    if features.shape != support.shape:
        raise InputError(
            f"The features are of an image of {features.shape}, the support {support.key} is {support.shape}."
        )


def _digest(net: IfseNet) -> str:
    digest = blake2b(repr(net.sizes).encode(), digest_size=8)
    for key, value in net.state_dict().items():
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
