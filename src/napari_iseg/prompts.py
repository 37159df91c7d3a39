"""Prompts: what the user tells a model about an object.

Everything is (row, col) in pixels of the full-resolution plane; integer coordinates are pixel centres.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, SupportsFloat, SupportsIndex, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError

# What users give: Python's numbers, numpy's, or an array of them.
Coordinates: TypeAlias = Sequence[SupportsFloat] | npt.NDArray[np.integer[Any] | np.floating[Any]]
Edges: TypeAlias = Sequence[SupportsIndex] | npt.NDArray[np.integer[Any]]  # top, left, bottom, right


@dataclass(frozen=True, slots=True)
class Click:
    """One click: ``row`` and ``col`` in pixels (may be fractional), on the object or beside it."""

    row: float
    col: float
    positive: bool = True

    def __post_init__(self) -> None:
        if not _finite(self.row, self.col):
            raise InputError(f"A click needs finite coordinates, got ({self.row!r}, {self.col!r}).")


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open rectangle of a plane: rows ``top`` to ``bottom``, columns ``left`` to ``right``."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.right - self.left

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.height, self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """The window as an index into a plane."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def contains(self, row: float, col: float) -> bool:
        """Whether a pixel position lies inside (pixel centres are at integers)."""
        return self.top - 0.5 <= row < self.bottom - 0.5 and self.left - 0.5 <= col < self.right - 0.5

    def intersect(self, other: Window) -> Window:
        """The common part; empty (zero height or width) when there is none."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        return Window(
            top, left, max(top, min(self.bottom, other.bottom)), max(left, min(self.right, other.right))
        )

    def union(self, other: Window) -> Window:
        """The smallest window that holds both."""
        return Window(
            min(self.top, other.top),
            min(self.left, other.left),
            max(self.bottom, other.bottom),
            max(self.right, other.right),
        )

    @classmethod
    def of_shape(cls, shape: tuple[int, int]) -> Window:
        """The window that covers a whole plane of ``shape`` (rows, columns)."""
        return cls(0, 0, shape[0], shape[1])


def as_window(value: Window | Edges, what: str = "A window") -> Window:
    """A window, or its edges (top, left, bottom, right), with Python's integers; else InputError."""
    edges = (value.top, value.left, value.bottom, value.right) if isinstance(value, Window) else value
    try:
        return Window(*(operator.index(edge) for edge in edges))
    except TypeError:
        raise InputError(
            f"{what} must be a Window or four whole numbers (top, left, bottom, right), got {value!r}."
        ) from None


@dataclass(frozen=True, slots=True)
class Box:
    """A box prompt: two corners, (row0, col0) inclusive to (row1, col1) exclusive; corners may come in
    any order.
    """

    row0: float
    col0: float
    row1: float
    col1: float

    def __post_init__(self) -> None:
        corners = (self.row0, self.col0, self.row1, self.col1)
        if not _finite(*corners):
            raise InputError(f"A box needs finite corners, got {corners}.")
        if self.row0 == self.row1 or self.col0 == self.col1:
            raise InputError(f"The box {corners} has no area; draw it with height and width.")
        low_r, high_r = sorted((self.row0, self.row1))
        low_c, high_c = sorted((self.col0, self.col1))
        for name, value in zip(("row0", "col0", "row1", "col1"), (low_r, low_c, high_r, high_c), strict=True):
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True)
class Prompts:
    """All prompts of one object, in the order given."""

    clicks: tuple[Click, ...] = ()
    box: Box | None = None


def _finite(*values: Any) -> bool:
    """Whether all are finite numbers; text is none, even that of a number."""
    try:
        return all(math.isfinite(value) for value in values)
    except (TypeError, OverflowError):
        return False


def click_array(clicks: Sequence[Click]) -> npt.NDArray[np.float32]:
    """Clicks in the field's network layout.

    Returns
    -------
    (2N, 3) float32
        Rows (row, col, order); the first N rows are positive, the last N negative; unused rows are -1;
        N is the larger of the two counts and at least 1. ``order`` counts from 0 over all clicks.
    """
    signs = [
        [(c.row, c.col, order) for order, c in enumerate(clicks) if c.positive is sign]
        for sign in (True, False)
    ]
    count = max(1, *(len(rows) for rows in signs))
    array = np.full((2 * count, 3), -1.0, np.float32)
    for start, rows in zip((0, count), signs, strict=True):
        if rows:
            array[start : start + len(rows)] = rows
    return array
