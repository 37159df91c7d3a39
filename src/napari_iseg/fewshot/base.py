"""The contracts of few-shot segmentation: supports, predictions, and what a model must be able to do.

No torch here: planning a run and reading its records must not load it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError
from napari_iseg.prompts import Click

Image = npt.NDArray[np.float32]  # (H, W, 3) RGB in [0, 1]
Labels = npt.NDArray[np.int32]  # (H, W) label ids, 0 background, -1 unknown
Position = tuple[float, ...]  # physical units; () where distance means nothing (tiles of a scene)

UNKNOWN = -1


@dataclass(frozen=True, eq=False)
class Support:
    """One annotated plane or tile.

    Parameters
    ----------
    key : names it in lists, records and refusals; unique among the supports of a run
    image : (H, W, 3) float32, RGB in [0, 1]
    mask : (H, W) int32 label ids, 0 background, -1 unknown. A support that has clicks only is -1 everywhere;
        a pixel that nobody looked at is unknown, never background
    clicks : (label, click) in the order given, in pixels of ``image``; a negative click says "not this label"
    position : physical position of the plane (z), or of the tile; () for tiles of a scene, between which
        distance means nothing. All positions of a run have the same length
    accepted : the user has said that the mask is right everywhere: it is then a fixed point
    version : raised with every change; a prediction made from an older version is stale
    whole : the image is a whole plane, so that its pixels lie over those of every other plane of its size;
        masks may then be interpolated between planes
    """

    key: str
    image: Image
    mask: Labels
    clicks: tuple[tuple[int, Click], ...] = ()
    position: Position = ()
    accepted: bool = False
    version: int = 0
    whole: bool = False

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.mask.shape != self.image.shape[:2]:
            raise InputError(
                f"The support {self.key} needs an image (H, W, 3) and a mask (H, W) of equal size, "
                f"got {self.image.shape} and {self.mask.shape}."
            )

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.mask.shape[0], self.mask.shape[1]

    @property
    def labels(self) -> tuple[int, ...]:
        """Labels that are painted or clicked on here, ascending."""
        painted = {int(value) for value in np.unique(self.mask) if value > 0}
        return tuple(sorted(painted | {label for label, click in self.clicks if click.positive}))

    @property
    def is_painted(self) -> bool:
        """Whether any pixel of the mask is known; else the clicks are all there is."""
        return bool((self.mask != UNKNOWN).any())

    def clicks_of(self, label: int) -> tuple[Click, ...]:
        """The clicks given for one label, in their order."""
        return tuple(click for owner, click in self.clicks if owner == label)

    def without_image(self) -> Support:
        """The same with a black image that takes no memory, for what is kept when the image was looked at."""
        return replace(self, image=np.broadcast_to(np.float32(0), (*self.shape, 3)))

    def with_mask(self, mask: Labels) -> Support:
        """The same support with another mask (same version: the caller decides what counts as a change)."""
        return replace(self, mask=mask)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What is believed of one plane or tile.

    Parameters
    ----------
    probability : (L + 1, H, W) float32, sums to 1 over axis 0; row 0 is background, row i ``labels[i - 1]``
    trust : 0 to 1: how far the prediction explains the supports back (1 for a support itself)
    presence : (L,) float32, 0 to 1: whether the label occurs at all
    """

    probability: npt.NDArray[np.float32]
    trust: float
    presence: npt.NDArray[np.float32]

    def mask(self, labels: Sequence[int]) -> Labels:
        """(H, W) int32: the most probable label of each pixel; ties go to the earlier row."""
        ids = np.asarray([0, *labels], np.int32)
        result: Labels = ids[self.probability.argmax(0)]
        return result

    def within(self, valid: npt.NDArray[np.bool_]) -> Prediction:
        """The same with background only where the image has no value: (H, W) ``valid`` is False there.

        Where it has none at all there is no doubt about it: trust 1, presence 0.
        """
        background = np.zeros((len(self.probability), 1, 1), np.float32)
        background[0] = 1
        probability = np.where(valid, self.probability, background)
        if not valid.any():
            return Prediction(probability, 1.0, np.zeros_like(self.presence))
        return replace(self, probability=probability)


class Features(Protocol):
    """A click-free encoding of one image; opaque but for its size."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory it holds."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the encoded image, padding not counted."""


class Embedding(Protocol):
    """All that a query needs to know of one support; small beside its features."""

    @property
    def version(self) -> int:
        """The version of the support it was made from."""

    @property
    def reliability(self) -> float:
        """0 to 1: 1 for a mask the user accepted."""


class FewShotModel(Protocol):
    """A model that turns annotated images into masks of other images.

    Attributes
    ----------
    identity : of weights and settings; part of every cache key and of every unit's record
    divisor : sides are padded inside to multiples of it
    """

    identity: str
    divisor: int

    def encode(self, image: Image) -> Features:
        """Encode an image (H, W, 3) float32 in [0, 1]; pure and click-free, so it may be cached."""

    def segment_support(self, support: Support, features: Features, labels: Sequence[int]) -> Prediction:
        """The mask of a support itself, from its clicks; painted pixels stay as they are (trust 1).

        Raises
        ------
        InputError
            When ``features`` are not of the support's size.
        """

    def embed(self, support: Support, features: Features, labels: Sequence[int]) -> Embedding:
        """Embed a support for these labels; ``features`` are those of its image.

        Raises
        ------
        InputError
            When ``features`` are not of the support's size.
        """

    def predict(
        self,
        features: Sequence[Features],
        positions: Sequence[Position],
        embeddings: Sequence[Embedding],
        labels: Sequence[int],
        previous: Sequence[npt.NDArray[np.float32] | None] | None = None,
    ) -> list[Prediction]:
        """Predict several images from one set of supports.

        The answer for an image does not depend on the others or on their order.

        Parameters
        ----------
        features : of the images asked for
        positions : one per image, as `Support.position`; () where distance means nothing
        embeddings : of the supports, all made with the same ``labels``
        previous : per image a neighbour's probabilities (L + 1, H, W) as a prior (sequential mode), or None

        Raises
        ------
        InputError
            Without a support that has a positive click or a painted pixel of any of the labels.
        """


class UnitPredictor(Protocol):
    """What a run needs: one unit (plane or tile) from the supports. Baselines satisfy this and no more.

    Attributes
    ----------
    identity : as of `FewShotModel`
    needs_image : False for methods that look at the supports' masks only; they may be given None
    """

    identity: str
    needs_image: bool

    def predict_unit(
        self,
        image: Image | None,
        position: Position,
        supports: Sequence[Support],
        labels: Sequence[int],
        previous: npt.NDArray[np.float32] | None = None,
    ) -> Prediction:
        """Predict one unit.

        Parameters
        ----------
        image : (H, W, 3) float32 in [0, 1]; None where ``needs_image`` is False
        position : physical, as `Support.position`
        supports : in any order. Methods that copy masks need supports of the unit's own size: those cut to
            the unit's window in their planes
        labels : ids that are asked for; row i + 1 of the answer is ``labels[i]``
        previous : (L + 1, H, W) probabilities of the neighbour, or None

        Raises
        ------
        InputError
            Without usable supports; one sentence.
        """


def distance(a: Position, b: Position) -> float:
    """Euclidean distance of two positions; 0 where either is ()."""
    if not a or not b:
        return 0.0
    if len(a) != len(b):
        raise InputError(f"Positions need the same number of coordinates, got {a} and {b}.")
    return float(np.linalg.norm(np.subtract(a, b)))


def check_supports(supports: Sequence[Support], labels: Sequence[int]) -> None:
    """Refuse what nothing can be predicted from.

    Raises
    ------
    InputError
        No support or label, or no support with a painted pixel or a positive click of any of the labels.
    """
    if not labels:
        raise InputError("There is no label to look for; paint or click on at least one object in a support.")
    if not supports:
        raise InputError("There is no support; annotate at least one slice or tile first.")
    wanted = {int(label) for label in labels}
    if any(wanted & set(support.labels) for support in supports):
        return
    names = ", ".join(map(str, sorted(wanted)))
    if any(support.clicks for support in supports):
        raise InputError(
            f"No support has a positive click or a painted pixel of label {names}; click on the object once."
        )
    raise InputError(f"No support has a pixel of label {names}; paint or click on one object first.")
