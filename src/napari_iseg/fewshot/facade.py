"""``iseg.FewShot``: annotate a few images, segment others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError
from napari_iseg.fewshot.adapter import ModelPredictor
from napari_iseg.fewshot.arguments import (
    as_byte_count,
    as_clicks,
    as_label,
    as_labels,
    as_position,
    check_model,
    check_wrap,
)
from napari_iseg.fewshot.base import (
    UNKNOWN,
    FewShotModel,
    Image,
    Position,
    Prediction,
    Support,
    UnitPredictor,
    check_supports,
)
from napari_iseg.fewshot.feature_cache import FeatureCache
from napari_iseg.fewshot.models import DEFAULT_MODEL, load_fewshot
from napari_iseg.images import PlaneSource
from napari_iseg.interactive.area import check_inside
from napari_iseg.prompts import Click, Window

PointLike = Click | tuple[float, float, bool] | tuple[int, float, float, bool]
_CACHE = 512 * 2**20


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What `FewShot.segment` answers.

    Parameters
    ----------
    mask : (H, W) int32 label ids, 0 background
    probability : (L + 1, H, W) float32, background first, then the labels in ascending order
    labels : ids of the rows 1..L
    trust : 0 to 1: how well the answer explains the supports back
    presence : (L,) float32: whether each label is in the image at all
    """

    mask: npt.NDArray[np.int32]
    probability: npt.NDArray[np.float32]
    labels: tuple[int, ...]
    trust: float
    presence: npt.NDArray[np.float32]


class FewShot:
    """A few annotated images and a model that carries the annotation to others.

    Parameters
    ----------
    model
        Name of a few-shot model or baseline (see `napari_iseg.fewshot.models.load_fewshot`), or one that is
        loaded.
    device
        "auto", "cpu", "cuda", ...
    cache_bytes
        Features of images are kept, by content, up to so many bytes, or "2 GB"; the least used go first.
    **wrap
        How images are read, as of `PlaneSource.wrap`, for example ``channel_axis=0, bands=(3, 2, 1)``.

    Examples
    --------
    >>> fewshot = FewShot("training-free")                          # doctest: +SKIP
    >>> fewshot.add_support(volume[10], mask=labels[10], position=10)  # doctest: +SKIP
    >>> fewshot.segment(volume[12], position=12).mask               # doctest: +SKIP
    """

    def __init__(
        self,
        model: str | Path | FewShotModel | UnitPredictor = DEFAULT_MODEL,
        *,
        device: str = "auto",
        cache_bytes: int | str = _CACHE,
        **wrap: Any,
    ) -> None:
        model = str(model) if isinstance(model, Path) else model
        check_model(model)
        check_wrap(wrap)
        self.cache = FeatureCache(as_byte_count(cache_bytes, "cache_bytes"))
        loaded = load_fewshot(model, device=device) if isinstance(model, str) else model
        self.model: FewShotModel | None = None
        self.predictor: UnitPredictor
        if hasattr(loaded, "predict_unit"):
            self.predictor = cast("UnitPredictor", loaded)
        else:
            self.model = loaded
            self.predictor = ModelPredictor(self.model, self.cache)
        self._wrap = wrap
        self._supports: dict[str, Support] = {}
        self._valid: dict[str, npt.NDArray[np.bool_] | None] = {}  # where a support's image has values
        self._version = 0

    @property
    def supports(self) -> tuple[Support, ...]:
        """All supports, in the order they were added."""
        return tuple(self._supports.values())

    @property
    def labels(self) -> tuple[int, ...]:
        """Labels painted or clicked on in any support, ascending."""
        return tuple(sorted({label for support in self.supports for label in support.labels}))

    def add_support(
        self,
        image: Any,
        mask: npt.ArrayLike | None = None,
        clicks: Sequence[PointLike] | None = None,
        *,
        label: int = 1,
        position: float | Position = (),
        accepted: bool = False,
        key: str | None = None,
    ) -> str:
        """Add an annotated image, or replace the one of that key.

        Parameters
        ----------
        image : (H, W) or (H, W, 3 or 4) array_like
            Or what `PlaneSource.wrap` takes with the options given.
        mask : (H, W) array_like of int or bool, or None
            Label ids: 0 background, -1 unknown; boolean: True is ``label``.
        clicks
            Click or (row, col, positive) for ``label``, or (label, row, col, positive).
        label
            Of the pixels and clicks that name none themselves.
        position
            Physical position along the stack; () where distance means nothing.
        accepted
            The mask is right everywhere.
        key
            Name of the support; one that is there already is replaced. None: a new one.

        Returns
        -------
        str
            The support's key, for `remove_support`.

        Raises
        ------
        InputError
            Without mask and clicks, for a mask of another size, for a click outside the image or of another
            form, for a label that int32 cannot hold, or for a position that is no number.
        """
        label = as_label(label)
        points = as_clicks(clicks, label)
        pixels, valid = self._look(image)
        shape = pixels.shape[:2]
        if mask is None and not points:
            raise InputError(
                "A support needs a mask or clicks; give mask=... or clicks=[(row, col, True), ...]."
            )
        for _, click in points:
            check_inside(click, (shape[0], shape[1]))
        place = as_position(position)
        name = key if key is not None else self._free_key()
        known = _mask(mask, label, (shape[0], shape[1]))
        if valid is not None:  # what a pixel without a value looks like says nothing
            known = np.where(valid, known, np.int32(UNKNOWN))
            points = tuple((i, click) for i, click in points if valid[round(click.row), round(click.col)])
            if not points and not (known != UNKNOWN).any():
                raise InputError(
                    "All labels and clicks lie where the image has no values, so nothing can be learnt from "
                    "them; annotate a place where it has some."
                )
        self._valid[name] = valid
        self._version += 1  # also when a key comes back after its support was removed
        self._supports[name] = Support(
            name,
            pixels,
            known,
            points,
            place,
            accepted,
            self._version,
            bool(place),
        )
        return name

    def remove_support(self, key: str) -> None:
        """Forget a support; InputError for a key that is not there."""
        if key not in self._supports:
            raise InputError(f"There is no support {key!r}; there are {', '.join(self._supports) or 'none'}.")
        del self._supports[key], self._valid[key]

    def segment(self, image: Any, *, position: float | Position = ()) -> Segmentation:
        """Segment an image by the supports given so far.

        Raises
        ------
        InputError
            Without a support, or when no support has a positive click or a painted pixel.
        """
        labels = self.labels
        if not labels and any(valid is not None for valid in self._valid.values()):
            raise InputError(
                "No support has a positive click or a painted pixel where its image has values; click on an "
                "object there once."
            )
        if not labels:
            check_supports(self.supports, (1,))
        check_supports(self.supports, labels)
        place = as_position(position)
        pixels, valid = self._look(image)
        answer = self.predictor.predict_unit(pixels, place, self.supports, labels)
        return _segmentation(answer, labels, valid)

    def segment_support(self, key: str) -> Segmentation:
        """The mask of a support itself, from its clicks.

        Raises
        ------
        InputError
            For an unknown key, or a baseline, which cannot turn clicks into masks.
        """
        if key not in self._supports:
            raise InputError(f"There is no support {key!r}; there are {', '.join(self._supports) or 'none'}.")
        if self.model is None:
            raise InputError(
                f"The method {self.predictor.identity} cannot turn clicks into masks; paint a mask."
            )
        support, labels, valid = self._supports[key], self.labels, self._valid[key]
        features = self.cache.get(self.model, support.image)
        return _segmentation(self.model.segment_support(support, features, labels), labels, valid)

    def _look(self, image: Any) -> tuple[Image, npt.NDArray[np.bool_] | None]:
        """The pixels of an image, and where it has values; None: everywhere."""
        source = image if isinstance(image, PlaneSource) else PlaneSource.wrap(image, **self._wrap)
        if source.leading_shape:
            raise InputError(
                f"One image is needed, got a stack with leading axes {source.leading_shape}; use "
                "iseg.propagate for a whole volume."
            )
        return source.look(Window.of_shape(source.shape))

    def _free_key(self) -> str:
        number = len(self._supports)
        while str(number) in self._supports:
            number += 1
        return str(number)


def _segmentation(
    answer: Prediction, labels: tuple[int, ...], valid: npt.NDArray[np.bool_] | None
) -> Segmentation:
    """An answer as users get it: no label lies where ``valid`` says that there is no value."""
    answer = answer if valid is None else answer.within(valid)
    return Segmentation(answer.mask(labels), answer.probability, labels, answer.trust, answer.presence)


def _mask(mask: npt.ArrayLike | None, label: int, shape: tuple[int, int]) -> npt.NDArray[np.int32]:
    if mask is None:
        return np.full(shape, UNKNOWN, np.int32)
    values = np.asarray(mask)
    if values.shape != shape:
        raise InputError(f"The mask has the shape {values.shape}, its image {shape}; they must be equal.")
    if values.dtype == bool:
        return np.where(values, label, 0).astype(np.int32)
    if not np.issubdtype(values.dtype, np.integer):
        raise InputError(f"A mask holds whole numbers or booleans, got {values.dtype}.")
    return as_labels(values, "The mask holds")
