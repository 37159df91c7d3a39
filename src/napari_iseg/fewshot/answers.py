"""From label scores to predictions: one softmax, fixed points, and clicks that are never contradicted."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Protocol

import numpy as np
import numpy.typing as npt

from napari_iseg.fewshot.base import UNKNOWN, Image, Prediction, Support
from napari_iseg.prompts import Click

Float = npt.NDArray[np.float32]
_ABSENT = -30.0  # logit of a label that is not there
HONEST_RADIUS = 3.0  # pixels around a click that are the user's at most
_LEAST_RADIUS = 0.75  # the clicked pixel itself


def content_of(image: Image) -> bytes:
    """A digest of an image's pixels: equal for equal images only."""
    digest = blake2b(digest_size=16)
    digest.update(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.digest()


def finite_image(image: Image) -> Image:
    """The image with NaN and infinities as 0, in [0, 1]."""
    cleaned: Image = np.clip(np.nan_to_num(image, nan=0.0, posinf=1.0, neginf=0.0), 0, 1, dtype=np.float32)
    return cleaned


def softmax_with_background(logits: Float, present: npt.NDArray[np.bool_]) -> Float:
    """(L, H, W) logits against a background of 0 -> probabilities (L + 1, H, W); absent labels get none."""
    kept = np.where(present[:, None, None], logits, _ABSENT)
    whole = np.concatenate([np.zeros((1, *logits.shape[1:]), np.float32), kept])
    whole -= whole.max(0)
    np.exp(whole, out=whole)
    result: Float = (whole / whole.sum(0)).astype(np.float32)
    return result


def with_known(probability: Float, support: Support, labels: Sequence[int]) -> Float:
    """Probabilities that agree with a support: its painted pixels, and its clicks.

    Where a click was not heard, its surroundings are drawn with it; where it was, the outline near it stays:
    a click on the rim of a small object says nothing of the pixels across the rim.
    """
    fixed = probability.copy()
    known = support.mask != UNKNOWN
    for row, label in enumerate((0, *labels)):
        # labels that were not asked for are background here
        own = (support.mask == label) if row else ~np.isin(support.mask, list(labels))
        fixed[row][known] = own[known]
    for label, click in support.clicks:
        if label not in labels:
            continue
        row = list(labels).index(label) + 1
        if _heard(probability[row], click):
            continue
        near = disk(click.row, click.col, support.shape, _honest_radius(probability[row])) & ~known
        if click.positive:
            fixed[:, near] = 0
            fixed[row][near] = 1
        else:
            fixed[0][near] += fixed[row][near]
            fixed[row][near] = 0
    return fixed


def _heard(probability: Float, click: Click) -> bool:
    return bool(probability[round(click.row), round(click.col)] > 0.5) is click.positive


def _honest_radius(probability: Float) -> float:
    """Pixels around a click that are the user's: fewer on an object so small that they would redraw it."""
    radius = np.sqrt(np.count_nonzero(probability > 0.5) / np.pi)
    return float(np.clip(radius / 2, _LEAST_RADIUS, HONEST_RADIUS))


def disk(
    row: float, col: float, shape: tuple[int, int], radius: float = HONEST_RADIUS
) -> npt.NDArray[np.bool_]:
    """(H, W) bool: pixels within ``radius`` of a point."""
    rows = np.arange(shape[0])[:, None] - row
    cols = np.arange(shape[1])[None] - col
    inside: npt.NDArray[np.bool_] = rows**2 + cols**2 <= radius**2
    return inside


def certainty(probability: Float) -> float:
    """By how much the likeliest class of (L + 1, H, W) leads, mean over the pixels that may be object."""
    maybe = probability[0] < 0.9
    if not maybe.any():
        return 1.0
    two = np.sort(probability[:, maybe], axis=0)[-2:]
    return float((two[1] - two[0]).mean())


def agreement(probability: Float) -> float:
    """Mean Dice of the labels' probabilities with their own masks; low where much lies outside."""
    best = probability.argmax(0)
    shares = []
    for row in range(1, len(probability)):
        mask = best == row
        if mask.any():
            inside = float(probability[row][mask].sum())
            shares.append(2 * inside / float(probability[row].sum() + np.count_nonzero(mask)))
    return float(np.mean(shares)) if shares else 0.0


class Answered(Protocol):
    """What `same_image` looks at in an embedding: its support, a digest of its image, and its own answer."""

    @property
    def support(self) -> Support:
        """The support."""

    @property
    def content(self) -> bytes:
        """`content_of` its image."""

    @property
    def probability(self) -> npt.NDArray[np.float16]:
        """(L + 1, H, W)."""


def same_image(content: bytes, embeddings: Sequence[Answered]) -> Prediction | None:
    """The answer for an image that is a support's own: fixed points are never overwritten."""
    for own in embeddings:
        if own.content == content:
            probability = own.probability.astype(np.float32)
            presence = probability[1:].reshape(len(probability) - 1, -1).max(1)
            trust = 1.0 if not (own.support.mask == UNKNOWN).any() else 0.9
            return Prediction(probability, trust, presence)
    return None


def nothing(shape: tuple[int, int], count: int) -> Prediction:
    """Background everywhere, for ``count`` labels."""
    probability = np.zeros((count + 1, *shape), np.float32)
    probability[0] = 1
    return Prediction(probability, 0.0, np.zeros(count, np.float32))
