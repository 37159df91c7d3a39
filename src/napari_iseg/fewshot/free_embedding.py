"""One support for the training-free profile: labelled pixels, prototypes, outlines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.ndimage import binary_dilation
from torch import Tensor

from napari_iseg.fewshot.answers import disk
from napari_iseg.fewshot.base import UNKNOWN, Prediction, Support
from napari_iseg.fewshot.pixel_head import sampled_rows
from napari_iseg.fewshot.positional import Outlines
from napari_iseg.fewshot.pyramid import Pyramid
from napari_iseg.nn.ifsenet_match import (
    background_prototypes,
    foreground_prototypes,
    masked_mean,
    to_cells,
)

Mask = npt.NDArray[np.bool_]
_PER_LABEL = 400  # pixels sampled of each label
_BACKGROUND = 600  # of the background, half of them near an outline
_CLICK_WEIGHT = 3.0
_GUESS_WEIGHT = 0.15  # of pixels nobody looked at, taken for background beside clicks
_TEMPERATURE = 0.1


@dataclass(frozen=True, eq=False)
class FreeEmbedding:
    """See the fields.

    ``rows`` (N, D) float16, ``targets`` (N,) int64 (0 background, i the i-th label), ``weights`` (N,) and
    ``points`` (N, 2) of the sampled pixels; ``widths`` of the levels in ``rows``; ``foreground`` and
    ``background`` per label (P, C); ``present`` (L,); ``digest`` of the labels asked for.
    """

    support: Support
    content: bytes
    rows: Tensor
    targets: Tensor
    weights: Tensor
    points: Tensor
    widths: tuple[int, ...]
    foreground: tuple[Tensor, ...]
    background: tuple[Tensor, ...]
    present: tuple[bool, ...]
    probability: npt.NDArray[np.float16]
    outlines: Outlines | None
    reliability: float
    digest: bytes

    @property
    def version(self) -> int:
        """Of the support."""
        return self.support.version


def make_embedding(
    support: Support, features: Pyramid, labels: Sequence[int], own: Prediction | None
) -> FreeEmbedding:
    """Embed a support; ``own`` is its own answer, None while that is being found from its clicks."""
    classes, weights = _known(support, labels, own)
    rng = np.random.default_rng(0)
    points, targets, kept = _sampled(classes, weights, len(labels), rng)
    size = features.half[0] * 2, features.half[1] * 2
    rows = sampled_rows(features.levels, torch.from_numpy(points), size)
    deep = features.deep.float()
    foreground, background = [], []
    for row in range(1, len(labels) + 1):
        inside = _cells(classes == row, features)
        outside = _cells((classes >= 0) & (classes != row), features)
        painted = float(inside.sum()) > 0
        mean = masked_mean(deep, inside)
        foreground.append(
            foreground_prototypes(deep, inside, mean) if painted else deep.new_zeros(0, len(deep))
        )
        background.append(background_prototypes(deep, outside))
    probability = np.zeros((len(labels) + 1, 1, 1), np.float16)
    outlines = None
    if own is not None:
        probability = own.probability.astype(np.float16)
        outlines = Outlines.of(support, list(own.probability[1:] > 0.5))
    return FreeEmbedding(
        support.without_image(),
        features.content,
        rows.half(),
        torch.from_numpy(targets),
        torch.from_numpy(kept),
        torch.from_numpy(points),
        tuple(level.shape[0] for level in features.levels),
        tuple(foreground),
        tuple(background),
        tuple(label in support.labels for label in labels),
        probability,
        outlines,
        _reliability(support, own),
        blake2b(repr((tuple(labels), own is None)).encode(), digest_size=8).digest(),
    )


def _reliability(support: Support, own: Prediction | None) -> float:
    if support.accepted or not (support.mask == UNKNOWN).any() or not support.clicks:
        return 1.0
    return (own.trust if own is not None else 0.0) * min(1.0, len(support.clicks) / 3)


def prototype_scores(deep: Tensor, embeddings: Sequence[FreeEmbedding], count: int) -> Tensor:
    """(L, h, w): LSE of cosine / tau over foreground minus that over background; 0 where one lacks."""
    return prototype_rows(deep.flatten(1).T, embeddings, count).T.reshape(count, *deep.shape[-2:])


def prototype_rows(rows: Tensor, embeddings: Sequence[FreeEmbedding], count: int) -> Tensor:
    """(N, L): the same for rows (N, C) of the deep level."""
    unit = F.normalize(rows, dim=1)
    columns = []
    for row in range(count):
        inside = torch.cat([e.foreground[row] for e in embeddings])
        outside = torch.cat([e.background[row] for e in embeddings])
        if len(inside) and len(outside):
            columns.append(_soft_nearest(unit, inside) - _soft_nearest(unit, outside))
        else:
            columns.append(rows.new_zeros(len(rows)))
    return torch.stack(columns, 1)


def _soft_nearest(unit: Tensor, prototypes: Tensor) -> Tensor:
    """(N,): LSE of the cosines of unit rows (N, C) with prototypes (P, C), over tau, less log P."""
    cosines = unit @ F.normalize(prototypes, dim=1).T
    return (cosines / _TEMPERATURE).logsumexp(1) - float(np.log(len(prototypes)))


def _known(
    support: Support, labels: Sequence[int], own: Prediction | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """(H, W) classes (-1 unknown, 0 background, i the i-th label) and how much each pixel counts."""
    classes = np.full(support.shape, -1, np.int64)
    weights = np.ones(support.shape, np.float32)
    clicked = any(label in labels and click.positive for label, click in support.clicks)
    if clicked and own is not None:  # its own answer, where it is sure
        sure = own.probability.max(0) > 0.9
        classes[sure] = own.probability.argmax(0)[sure]
        weights[:] = 0.5
    known = support.mask != UNKNOWN
    classes[known] = 0
    weights[known] = 1
    for row, label in enumerate(labels, 1):
        classes[support.mask == label] = row
    for label, click in support.clicks:
        if label in labels:
            near = disk(click.row, click.col, support.shape) & ~known
            classes[near] = list(labels).index(label) + 1 if click.positive else 0
            weights[near] = _CLICK_WEIGHT
    if clicked and own is None:  # nobody said so, but most of what was not clicked is something else
        rest = classes == -1
        classes[rest] = 0
        weights[rest] = _GUESS_WEIGHT
    return classes, weights


def _sampled(
    classes: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float32],
    count: int,
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Points (N, 2), their classes and weights: every class, and both sides of outlines."""
    rim = binary_dilation(classes > 0, iterations=6)
    groups = [((classes == row) & (weights <= 1), _PER_LABEL) for row in range(1, count + 1)]
    groups += [((classes == 0) & rim & (weights <= 1), _BACKGROUND // 2)]
    groups += [((classes == 0) & ~rim & (weights <= 1), _BACKGROUND // 2), (weights > 1, 2 * _PER_LABEL)]
    chosen, counts = [], []
    for inside, most in groups:
        flat = np.flatnonzero(inside)
        kept = flat if len(flat) <= most else np.sort(rng.choice(flat, most, replace=False))
        chosen.append(kept)
        # what a pixel stands for, softened: else a vast background would outvote small objects
        counts.append(np.full(len(kept), (len(flat) / max(len(kept), 1)) ** 0.5, np.float32))
    flat = np.concatenate(chosen)
    points = np.stack(np.divmod(flat, classes.shape[1]), 1).astype(np.float32)
    return points, classes.ravel()[flat], weights.ravel()[flat] * np.concatenate(counts)


def _cells(mask: Mask, features: Pyramid) -> Tensor:
    whole = torch.zeros(features.half[0] * 2, features.half[1] * 2, dtype=torch.float32)
    whole[: mask.shape[0], : mask.shape[1]] = torch.from_numpy(mask.astype(np.float32))
    return to_cells(whole, features.deep.shape[-2:])
