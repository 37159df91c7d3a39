"""How an nD array is looked at as planes, and how a plane is cut into overlapping tiles."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from napari_iseg.errors import InputError
from napari_iseg.fewshot.base import Position
from napari_iseg.prompts import Window

Plane = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """A label array seen as planes along a slicing axis.

    Attributes
    ----------
    shape : of the label array, in its own order of axes
    rows, cols : axes of a plane, ``rows < cols``
    slicing : the axis that is sliced, whose neighbours are neighbouring planes; None for a 2-D array
    spacing : physical size of a step along each axis
    """

    shape: tuple[int, ...]
    rows: int
    cols: int
    slicing: int | None
    spacing: tuple[float, ...]

    @classmethod
    def of(
        cls,
        shape: Sequence[int],
        axis: int | str | None = None,
        *,
        axes: Sequence[str] | None = None,
        spacing: Sequence[float] | None = None,
    ) -> Frame:
        """The planes of an array of ``shape``.

        Parameters
        ----------
        axis : the slicing axis, as index or as one of the names ``axes``; None: the third from last. The
            plane is the last two of the others, all further axes (time) are gone through plane by plane.
        spacing : one positive number per axis; None: 1 everywhere

        Raises
        ------
        InputError
            For an axis that does not exist, or an array without planes.
        """
        sizes = tuple(int(size) for size in shape)
        if len(sizes) < 2 or min(sizes) < 1:
            raise InputError(f"A volume or scene needs at least rows and columns, got the shape {sizes}.")
        steps = tuple(float(step) for step in spacing) if spacing is not None else (1.0,) * len(sizes)
        if len(steps) != len(sizes) or min(steps) <= 0:
            raise InputError(f"spacing needs {len(sizes)} positive numbers, one per axis, got {spacing}.")
        if len(sizes) == 2:
            if axis is not None:
                raise InputError("A 2-D image has no slicing axis; leave it out.")
            return cls(sizes, 0, 1, None, steps)
        slicing = _axis(axis, len(sizes), axes)
        rows, cols = [index for index in range(len(sizes)) if index != slicing][-2:]
        return cls(sizes, rows, cols, slicing, steps)

    @property
    def leading(self) -> tuple[int, ...]:
        """The axes that are not of the plane, in order."""
        return tuple(axis for axis in range(len(self.shape)) if axis not in (self.rows, self.cols))

    @property
    def leading_shape(self) -> tuple[int, ...]:
        """Sizes of the leading axes; () for a scene."""
        return tuple(self.shape[axis] for axis in self.leading)

    @property
    def plane_shape(self) -> tuple[int, int]:
        """(rows, cols) of a plane."""
        return self.shape[self.rows], self.shape[self.cols]

    @property
    def place(self) -> int:
        """Where the slicing axis stands in a plane's index."""
        if self.slicing is None:
            raise InputError("A scene has no slices.")
        return self.leading.index(self.slicing)

    def planes(self) -> Iterator[Plane]:
        """All planes, in the order of the array."""
        yield from product(*map(range, self.leading_shape))

    def index(self, plane: Plane, window: Window) -> tuple[int | slice, ...]:
        """The array index of a window of a plane; the answer is (rows, cols)."""
        at: list[int | slice] = [0] * len(self.shape)
        for axis, position in zip(self.leading, plane, strict=True):
            at[axis] = position
        at[self.rows], at[self.cols] = window.slices
        return tuple(at)

    def position(self, plane: Plane) -> Position:
        """Physical position of a plane along the leading axes; () for a scene."""
        return tuple(i * self.spacing[axis] for i, axis in zip(plane, self.leading, strict=True))

    def centre(self, plane: Plane, window: Window) -> Position:
        """Physical position of the middle of a window, in-plane axes last."""
        row = (window.top + window.bottom) / 2 * self.spacing[self.rows]
        col = (window.left + window.right) / 2 * self.spacing[self.cols]
        return (*self.position(plane), row, col)

    def name(self, plane: Plane) -> str:
        """The plane in messages: "plane 12", "plane 3,12", or "scene"."""
        return f"plane {','.join(map(str, plane))}" if plane else "scene"


def _axis(axis: int | str | None, ndim: int, names: Sequence[str] | None) -> int:
    if axis is None:
        return ndim - 3
    if isinstance(axis, str):
        if axis.lstrip("-").isdigit():
            return _axis(int(axis), ndim, names)
        known = [name.lower() for name in names or ()]
        if axis.lower() not in known:
            listed = ", ".join(known) or "none, give its number"
            raise InputError(f"There is no axis {axis!r}; the axes are {listed}.")
        return known.index(axis.lower())
    try:
        axis = operator.index(axis)
    except TypeError:
        raise InputError(f"axis is the number or the name of the slicing axis, got {axis!r}.") from None
    if not -ndim <= axis < ndim:
        raise InputError(f"The slicing axis {axis} does not exist in an array of {ndim} axes.")
    return axis % ndim


@dataclass(frozen=True, slots=True)
class Grid:
    """Overlapping tiles of a plane: cores that cover it once, windows that reach ``halo`` further.

    A side that is not longer than a tile is one piece.

    Attributes
    ----------
    shape : (rows, cols) of the plane
    tile : side of a window, halos included
    halo : pixels by which a window reaches beyond its core; blending happens ``halo`` to both sides of a
        border
    """

    shape: tuple[int, int]
    tile: int = 512
    halo: int = 64

    def __post_init__(self) -> None:
        if self.tile < 8 or self.halo < 0 or 3 * self.halo > self.tile:
            raise InputError(
                f"Tiles need at least 8 pixels and a halo of at most a third of the tile, got {self.tile} "
                f"and {self.halo}."
            )

    @property
    def count(self) -> tuple[int, int]:
        """Tiles along rows and columns."""
        return len(self._borders(0)) - 1, len(self._borders(1)) - 1

    @property
    def chunk(self) -> tuple[int, int]:
        """Sides of a full core; what an output's chunks should be."""
        return self._core(0), self._core(1)

    def core(self, row: int, col: int) -> Window:
        """The pixels that tile (row, col) answers for."""
        rows, cols = self._borders(0), self._borders(1)
        return Window(rows[row], cols[col], rows[row + 1], cols[col + 1])

    def window(self, row: int, col: int) -> Window:
        """The pixels that tile (row, col) looks at; all of one size."""
        top, bottom = self._reach(0, row)
        left, right = self._reach(1, col)
        return Window(top, left, bottom, right)

    def tiles(self) -> Iterator[tuple[int, int]]:
        """All tiles, row by row."""
        yield from product(*map(range, self.count))

    def neighbours(self, row: int, col: int) -> list[tuple[int, int]]:
        """The tile itself and those whose windows reach into its core, row by row."""
        rows, cols = self.count
        return [
            (r, c)
            for r in range(max(0, row - 1), min(rows, row + 2))
            for c in range(max(0, col - 1), min(cols, col + 2))
        ]

    def borders(self, axis: int) -> list[int]:
        """Borders between the cores along rows (0) or columns (1), ends included."""
        return self._borders(axis)

    def _core(self, axis: int) -> int:
        size = self.shape[axis]
        return size if size <= self.tile else self.tile - 2 * self.halo

    def _borders(self, axis: int) -> list[int]:
        size, core = self.shape[axis], self._core(axis)
        return [*range(0, size, core), size]

    def _reach(self, axis: int, number: int) -> tuple[int, int]:
        borders, size = self._borders(axis), self.shape[axis]
        if len(borders) == 2:
            return 0, size
        start = max(0, borders[number] - self.halo)
        # at the ends the window keeps its size, so that a thin last tile still sees its surroundings
        end = min(size, max(borders[number + 1] + self.halo, start + self.tile))
        return max(0, min(start, end - self.tile)), end
