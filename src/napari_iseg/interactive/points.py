"""Where a point, box or plane given by the user lies, or why it cannot be used."""

from __future__ import annotations

import operator
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_iseg.errors import InputError
from napari_iseg.interactive.area import check_box, check_inside
from napari_iseg.prompts import Box, Click, Coordinates, Edges, Window, as_window

if TYPE_CHECKING:
    from napari_iseg.images import PlaneSource

Plane = tuple[int, ...]


def checked_plane(plane: Coordinates, leading: tuple[int, ...]) -> Plane:
    """A plane's index, one whole number per leading axis; InputError when the image has no such plane."""
    values = _numbers(plane, f"A plane of this image is {len(leading)} indices")
    if len(values) != len(leading):
        raise InputError(f"A plane of this image has {len(leading)} indices, got {len(values)}.")
    if not np.isfinite(values).all():
        raise InputError(f"The plane index must be finite, got {tuple(values.tolist())}.")
    index = tuple(int(value) for value in np.rint(values))
    if any(not 0 <= i < size for i, size in zip(index, leading, strict=True)):
        raise InputError(
            f"The plane {index} is outside the image, which has {leading} planes counted from 0."
        )
    return index


def checked_index(index: int) -> int:
    """The number of a click, or InputError where it is no whole number; whether there is one, others know."""
    try:
        return operator.index(index)
    except TypeError:
        raise InputError(f"A click is named by a whole number, counted from 0; got {index!r}.") from None


def checked_threshold(value: Any) -> float | None:
    """A threshold, None for the model's; InputError for anything else."""
    if value is None:
        return None
    if not (isinstance(value, Real) and 0 < float(value) < 1):
        raise InputError(f"The threshold must be a number between 0 and 1, got {value!r}.")
    return float(value)


def checked_window(view: Window | Edges | None) -> Window | None:
    """What the user sees, a window or (top, left, bottom, right); InputError for anything else."""
    return None if view is None else as_window(view, "The view")


def locate(point: Coordinates, plane: Plane, source: PlaneSource) -> tuple[Plane, float, float]:
    """Plane, row and column of (y, x) in ``plane`` or of (plane..., y, x)."""
    if isinstance(point, Click):  # its sign would be lost, or against the one that is given beside it
        raise InputError(
            f"A session makes the click itself: give the point as ({point.row:g}, {point.col:g}), and "
            "positive=False for its sign where it is not on the object."
        )
    plane, (row, col) = _split(point, 2, "(y, x)", plane, source)
    check_inside(Click(row, col), source.shape)
    return plane, row, col


def locate_box(box: Box | Coordinates, plane: Plane, source: PlaneSource) -> tuple[Plane, Box]:
    """Plane and box of (y0, x0, y1, x1) in ``plane`` or of (plane..., y0, x0, y1, x1), cut to the image."""
    if isinstance(box, Box):
        box = (box.row0, box.col0, box.row1, box.col1)
    plane, values = _split(box, 4, "(y0, x0, y1, x1)", plane, source)
    given, (rows, cols) = Box(*values), source.shape
    check_box(given, source.shape)
    low = max(0.0, given.row0), max(0.0, given.col0)
    return plane, Box(*low, min(float(rows), given.row1), min(float(cols), given.col1))


def _split(
    values: Coordinates, count: int, form: str, plane: Plane, source: PlaneSource
) -> tuple[Plane, tuple[float, ...]]:
    """Split (plane..., values) and check what can be checked."""
    leading = source.leading_shape
    more = f" or {len(leading)} plane indices and then {form}" if leading else ""
    array = _numbers(values, f"Expected {form}{more}")
    if len(array) not in (count, count + len(leading)):
        raise InputError(f"Expected {form}{more}, got {len(array)} numbers.")
    if not np.isfinite(array).all():
        raise InputError(f"Coordinates must be finite, got {tuple(array.tolist())}.")
    if len(array) > count:
        plane = checked_plane(array[:-count].tolist(), leading)
    return plane, tuple(float(value) for value in array[-count:])


def _numbers(values: Coordinates, expected: str) -> NDArray[np.float64]:
    """The values in a row; InputError, which says what is ``expected``, where they are no numbers."""
    try:
        return np.asarray(values, np.float64).ravel()
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{expected}, all of them numbers; got {values!r}.") from None
