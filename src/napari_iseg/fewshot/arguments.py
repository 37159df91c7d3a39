"""Models, labels, positions and clicks of another kind than they must be, refused before any work."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any

import numpy as np

from napari_iseg.errors import InputError
from napari_iseg.fewshot.base import UNKNOWN, Labels, Position
from napari_iseg.fewshot.models import DEFAULT_MODEL
from napari_iseg.fewshot.sizes import byte_count
from napari_iseg.prompts import Click

_WRAP = ("rgb", "plane_axes", "channel_axis", "bands")
_LARGEST = np.iinfo(np.int32).max
_SHOWN = 60  # letters of a value in a sentence


def check_model(model: Any) -> None:
    """Refuse what is neither a name nor a few-shot method, as a click model."""
    if not (isinstance(model, str) or hasattr(model, "predict") or hasattr(model, "predict_unit")):
        raise InputError(
            f"A few-shot model or the name of one is needed, as {DEFAULT_MODEL!r}, got {shown(model)}."
        )


def as_byte_count(size: Any, name: str) -> int:
    """Bytes of a number of them, or of "2 GB"; InputError for anything else."""
    if isinstance(size, str):
        return byte_count(size, name)
    if not is_whole(size) or size < 0:
        raise InputError(f"{name} is a number of bytes, or a size like '2 GB', got {shown(size)}.")
    return int(size)


def check_wrap(options: Mapping[str, Any]) -> None:
    """Refuse options that `PlaneSource.wrap` does not have."""
    unknown = sorted(set(options) - set(_WRAP))
    if unknown:
        raise InputError(f"Unknown option {unknown[0]!r}; of an image there are {', '.join(_WRAP)}.")


def as_labels(values: Any, whose: str) -> Labels:
    """Whole numbers as label ids, negative ones (unknown) as -1; InputError for one that int32 cannot hold.

    ``whose`` begins the sentence: "The mask holds".
    """
    values = np.asarray(values)
    if values.size and values.max() > _LARGEST:
        raise InputError(
            f"{whose} the id {values.max()} (few-shot takes ids up to {_LARGEST}); give that object a "
            "smaller one."
        )
    ids: Labels = np.maximum(values.astype(np.int64), UNKNOWN).astype(np.int32)
    return ids


def as_label(label: Any) -> int:
    """The label of an object; InputError where it is none."""
    try:
        whole = 0 if isinstance(label, bool | np.bool_) or np.ndim(label) else int(label)
    except (TypeError, ValueError, OverflowError):
        whole = 0
    if not 1 <= whole <= _LARGEST or whole != label:
        raise InputError(f"A label is a whole number, at least 1 and at most {_LARGEST}, got {shown(label)}.")
    return whole


def as_position(position: Any) -> Position:
    """A number, or several in a tuple, as a position; InputError for anything else."""
    parts = position if isinstance(position, tuple) else (position,)
    try:
        place = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        place = (math.nan,)
    if not all(map(math.isfinite, place)):
        raise InputError(
            f"A position is a number, or a tuple of one per axis that is stacked, got {shown(position)}."
        )
    return place


def as_clicks(points: Any, label: int) -> tuple[tuple[int, Click], ...]:
    """A support's clicks with their labels; None is none of them."""
    if points is not None and (isinstance(points, str) or not isinstance(points, Iterable)):
        raise InputError(f"clicks are a list, as [(row, col, True), ...], got {shown(points)}.")
    return tuple(as_click(point, label) for point in (() if points is None else points))


def as_click(point: Any, label: int) -> tuple[int, Click]:
    """A support's click with its label; ``label`` is that of clicks without one of their own."""
    if isinstance(point, Click):
        return label, point
    try:
        own, row, col, positive = point if len(point) == 4 else (label, *point)
        own, row, col = int(own), float(row), float(col)
    except (TypeError, ValueError):
        raise InputError(
            "A support's click is a Click, (row, col, positive) or (label, row, col, positive), got "
            f"{shown(point)}."
        ) from None
    return as_label(own), Click(row, col, bool(positive))


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number, Python's or numpy's; True is none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_list(value: Any) -> bool:
    """Whether a value has entries that may be gone through more than once; text has none."""
    listed = isinstance(value, Iterable) and hasattr(value, "__len__") and not isinstance(value, str)
    return listed and getattr(value, "ndim", 1) > 0  # an array without axes has no entries


def shown(value: Any) -> str:
    """A value as it stands in a sentence: what it is of where it is long."""
    text = repr(value)
    plain = len(text) <= _SHOWN and "\n" not in text and not text.startswith("<")
    return text if plain else f"a {type(value).__name__}"
