"""Arguments of `FewShot` and `propagate` of another kind than they must be, refused before any work."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any

import numpy as np

from napari_iseg.errors import InputError
from napari_iseg.fewshot.areas import Areas
from napari_iseg.fewshot.base import UNKNOWN, Labels, Position
from napari_iseg.fewshot.models import DEFAULT_MODEL
from napari_iseg.prompts import Click, Window

_WRAP = ("rgb", "plane_axes", "channel_axis", "bands")
_LARGEST = np.iinfo(np.int32).max
_SHOWN = 60  # letters of a value in a sentence


def check_model(model: Any) -> None:
    """Refuse what is neither a name nor a few-shot method, as a click model."""
    if not (isinstance(model, str) or hasattr(model, "predict") or hasattr(model, "predict_unit")):
        raise InputError(
            f"A few-shot model or the name of one is needed, as {DEFAULT_MODEL!r}, got {_shown(model)}."
        )


def check_wrap(options: Mapping[str, Any]) -> None:
    """Refuse options that `PlaneSource.wrap` does not have."""
    unknown = sorted(set(options) - set(_WRAP))
    if unknown:
        raise InputError(f"Unknown option {unknown[0]!r}; of an image there are {', '.join(_WRAP)}.")


def check_run(*, planes: Any, supports: Any, only: Any, region: Any, axes: Any) -> None:
    """Refuse arguments of ``propagate``; what they name is looked for later."""
    for name, chosen in (("planes", planes), ("supports", supports)):
        if chosen is not None and not isinstance(chosen, slice) and not _are_planes(chosen):
            raise InputError(
                f"{name} are numbers along the slicing axis, as [3, 7] or range(3, 9), or tuples of them, "
                f"got {_shown(chosen)}."
            )
    if only is not None and not (_is_list(only) and all(isinstance(label, Integral) for label in only)):
        raise InputError(f"only is a list of labels, as [1, 2], got {_shown(only)}.")
    if region is not None and not isinstance(region, Window | Areas):
        raise InputError(
            f"region is a Window(top, left, bottom, right) or Areas of polygons, got {_shown(region)}."
        )
    if axes is not None and not (_is_list(axes) or isinstance(axes, str)):
        raise InputError(f"axes are names, as ('z', 'y', 'x'), got {_shown(axes)}.")
    if axes is not None and len(set(axes)) != len(tuple(axes)):
        raise InputError(f"Every axis needs a name of its own, as ('z', 'y', 'x'), got {_shown(axes)}.")


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
        whole = int(label)
    except (TypeError, ValueError, OverflowError):
        whole = 0
    if not 1 <= whole <= _LARGEST or whole != label:
        raise InputError(
            f"A label is a whole number, at least 1 and at most {_LARGEST}, got {_shown(label)}."
        )
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
            f"A position is a number, or a tuple of one per axis that is stacked, got {_shown(position)}."
        )
    return place


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
            f"{_shown(point)}."
        ) from None
    return as_label(own), Click(row, col, bool(positive))


def _are_planes(chosen: Any) -> bool:
    return _is_list(chosen) and all(
        isinstance(index, Integral) for place in chosen for index in (place if _is_list(place) else (place,))
    )


def _is_list(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str)


def _shown(value: Any) -> str:
    text = repr(value)
    plain = len(text) <= _SHOWN and "\n" not in text and not text.startswith("<")
    return text if plain else f"a {type(value).__name__}"
