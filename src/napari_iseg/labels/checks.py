"""What labels are asked for and given: a number, a plane, a window, a mask; refused where it cannot be."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_iseg.errors import InputError
from napari_iseg.prompts import Edges, Window, as_window

HIGHEST = 2**32 - 1


def checked_label(label: int) -> int:
    """A label that fits into uint32, or InputError."""
    try:
        kind = np.asarray(label)
        number = int(label) if kind.ndim == 0 and kind.dtype.kind != "b" else 0
    except (TypeError, ValueError, OverflowError):
        number = 0
    if not 1 <= number <= HIGHEST or number != label:
        raise InputError(f"A label is a whole number from 1 to {HIGHEST}, got {label!r}.")
    return number


def checked_mask(values: Any) -> NDArray[np.bool_]:
    """A part of a mask, of any library and read only now, as bool; InputError for probabilities."""
    part = np.asarray(values)
    if part.dtype.kind not in "bui":
        raise InputError(
            f"The mask must be bool, got {part.dtype}; of a probability give `probability > 0.5`."
        )
    return part.astype(np.bool_)


def checked_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Sizes of at least rows and columns, or InputError."""
    try:
        sizes = tuple(map(operator.index, shape))
    except TypeError:
        sizes = ()
    if len(sizes) < 2 or min(sizes) < 1:
        raise InputError(
            f"Labels need at least rows and columns, whole numbers larger than 0; got the shape {shape!r}."
        )
    return sizes


def check_box(box: Sequence[int | slice], shape: tuple[int, ...]) -> None:
    """Refuse what is no box of labels of a shape: an index or a slice, which may step forwards, per axis.

    Raises
    ------
    InputError
        The sentence tells both.
    """
    try:
        fits = len(box) == len(shape) and all(
            len(range(*part.indices(size))) >= 0 and (part.step or 1) > 0
            if isinstance(part, slice)
            else -size <= operator.index(part) < size
            for part, size in zip(box, shape, strict=True)
        )
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise InputError(
            f"The box {box} is not in labels of the shape {shape}; give an index or a slice of each axis."
        )


def checked_place(
    plane: Sequence[int], window: Window | Edges | None, shape: tuple[int, ...]
) -> tuple[tuple[int, ...], Window]:
    """Plane and window (None: the whole plane) of labels of a shape, as Python's integers.

    Raises
    ------
    InputError
        Where there is no such plane, or the window is not inside of it.
    """
    *lead, rows, cols = shape
    try:
        index = tuple(map(operator.index, plane))
    except TypeError:
        raise InputError(
            f"A plane of labels of the shape {shape} is {len(lead)} whole number(s) in a tuple, got "
            f"{plane!r}."
        ) from None
    if len(index) != len(lead) or any(not 0 <= i < size for i, size in zip(index, lead, strict=True)):
        raise InputError(f"The plane {index} is not in labels of the shape {shape}.")
    if window is None:
        return index, Window(0, 0, rows, cols)
    window = as_window(window)
    if not (0 <= window.top <= window.bottom <= rows and 0 <= window.left <= window.right <= cols):
        raise InputError(f"The window {window} is not inside a plane of {rows} x {cols} pixels.")
    return index, window
