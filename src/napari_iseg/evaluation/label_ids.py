"""Label values of any file as int32 numbers: none is lost, none becomes another's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError

Array = npt.NDArray[Any]
_LARGEST = 2**31 - 1


def ignored_id(ignore: int | None) -> int | None:
    """The number that `as_ids` gives to pixels of the value ``ignore``."""
    return None if ignore is None else max(-_LARGEST - 1, min(ignore, _LARGEST))


def as_ids(
    labels: Array,
    file: str,
    *,
    classes: bool = False,
    ignore: int | None = None,
    everywhere: Callable[[], Array] | None = None,
) -> npt.NDArray[np.int32]:
    """Labels as int32; values that fit stay as they are, larger ones get the lowest numbers that are free.

    Parameters
    ----------
    labels : array of whole numbers, also as floats; 0 and below is background
    file : where they lie, for people
    classes : whether values mean the same in every file, so that none can be renumbered
    ignore : a value that is no object; see `ignored_id`
    everywhere : gives all values of the volume that ``labels`` are a slice of, where a body has one number in
        all of it; asked only where a value does not fit

    Raises
    ------
    InputError
        For values that are no whole numbers, and for classes that do not fit.
    """
    if np.can_cast(labels.dtype, np.int32):
        return labels.astype(np.int32, copy=False)
    labels = _whole_numbers(labels, file)
    large = labels > _LARGEST
    ids: npt.NDArray[np.int32] = np.where(large, 0, labels).astype(np.int32)
    if not large.any():
        return ids
    values = np.unique(labels if everywhere is None else _whole_numbers(everywhere(), file))
    fitting, wide = values[values <= _LARGEST], values[values > _LARGEST]
    if classes and (wide != ignore).any():
        raise InputError(
            f"The labels of {file} hold the class {int(wide[wide != ignore][0])}, and classes go up to "
            f"{_LARGEST}; number them from 1."
        )
    taken = np.append(fitting.astype(np.int64), ignored_id(ignore) or 0)
    numbers = np.setdiff1d(np.arange(1, len(values) + 2), taken)[: len(wide)]
    numbers[wide == ignore] = _LARGEST
    ids[large] = numbers[np.searchsorted(wide, labels[large])]
    return ids


def one_object(labels: Array, file: str, ignore: int | None = None) -> npt.NDArray[np.int32]:
    """All that is not background as one object: (H, W) ids from labels (H, W), or (H, W, C) in colours.

    Pixels of the value ``ignore`` keep the number that `ignored_id` gives. InputError as of `as_ids`.
    """
    ids = as_ids(labels.max(-1) if labels.ndim == 3 else labels, file, ignore=ignore)
    void = ignored_id(ignore)
    made = np.where(ids > 0, 2 if void == 1 else 1, 0)
    return (made if void is None else np.where(ids == void, void, made)).astype(np.int32)


def _whole_numbers(labels: Array, file: str) -> Array:
    """Integers, or floats of 64 bits, none below int32: what is negative is background in any case."""
    if labels.dtype.kind == "u":
        return labels
    if labels.dtype.kind not in "if":
        raise InputError(f"The labels of {file} are {labels.dtype} values; save them as integers.")
    if labels.dtype.kind == "f":
        labels = labels.astype(np.float64)  # holds the limits of int32 exactly
        odd = labels[~np.isfinite(labels) | (labels != np.trunc(labels))]
        if odd.size:
            raise InputError(
                f"The labels of {file} hold {odd[0]:g}, which is no whole number; save them as integers, "
                "with 0 for the background."
            )
    return np.asarray(np.maximum(labels, -_LARGEST - 1))
