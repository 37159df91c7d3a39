"""The arrays of an image, finest first, read by window, plane and band."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError, IsegError
from napari_iseg.images.damage import name_of, reading
from napari_iseg.images.layout import Layout
from napari_iseg.images.nodata import Masked
from napari_iseg.prompts import Window

_READ_THROUGH = 4  # channels this close together are read in one piece


class Pyramid:
    """Levels of one image with one layout; a plain array is a pyramid of one level.

    Parameters
    ----------
    levels : arrays with ``shape``, ``dtype`` and slicing, checked by ``layout.as_levels``
    layout : Layout
    """

    def __init__(self, levels: Sequence[Any], layout: Layout) -> None:
        self._levels = list(levels)
        self.layout = layout
        self.coarsest = len(self._levels) - 1
        self.dtype: np.dtype[Any] = np.dtype(self._levels[0].dtype)
        self.leading_shape = tuple(int(self._levels[0].shape[axis]) for axis in layout.leading)

    def shape(self, level: int) -> tuple[int, int]:
        """(rows, cols) of a level."""
        shape = self._levels[level].shape
        return int(shape[self.layout.rows]), int(shape[self.layout.cols])

    def factor(self, level: int, axis: int) -> float:
        """Level-0 pixels per pixel of a level along rows (0) or columns (1).

        Whole where the shapes allow it: levels of 1000, 500, 250, 125, 63 pixels are factors 1, 2, 4, 8, 16.
        """
        fine, coarse = self.shape(0)[axis], self.shape(level)[axis]
        whole = round(fine / coarse)
        return float(whole) if coarse in (-(-fine // whole), fine // whole) else fine / coarse

    def level_for(self, scale: int) -> int:
        """The coarsest level with at least one pixel per ``scale`` level-0 pixels along both axes."""
        fine_enough = [
            level
            for level in range(len(self._levels))
            if max(self.factor(level, 0), self.factor(level, 1)) <= scale
        ]
        return fine_enough[-1]

    def borders(self, level: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Where chunks begin and end along rows and columns; everywhere, if none are stated."""
        stated = getattr(self._levels[level], "chunks", None) or ()
        found = []
        for axis, size in zip((self.layout.rows, self.layout.cols), self.shape(level), strict=True):
            chunk = stated[axis] if len(stated) == len(self._levels[level].shape) else 1
            if isinstance(chunk, Sequence):  # dask's, which may differ in size
                found.append(np.cumsum((0, *chunk)))
            else:
                found.append(np.append(np.arange(0, size, chunk), size))
        return found[0], found[1]

    def has_gaps(self, level: int) -> bool:
        """Whether some pixels of a level may be without a value: NaN, an infinity or masked."""
        array = self._levels[level]
        masked = isinstance(getattr(array, "_meta", array), (np.ma.MaskedArray, Masked))  # the first: dask's
        return masked or self.dtype.kind == "f"

    def raw(self, level: int, window: Window, plane: tuple[int, ...]) -> npt.NDArray[Any]:
        """(rows, cols, bands) values as stored; ``window`` in pixels of the level, ``plane`` of level 0."""
        layout, array = self.layout, self._levels[level]
        index: list[int | slice] = [slice(None)] * len(array.shape)
        for axis, position, size in zip(layout.leading, plane, self.leading_shape, strict=True):
            coarse = int(array.shape[axis])
            index[axis] = min(int((position + 0.5) * coarse / size), coarse - 1)
        index[layout.rows], index[layout.cols] = window.slices
        if layout.channel is None:
            return _plane(array, index, layout)[..., None]
        low, high = min(layout.bands), max(layout.bands)
        if high - low < _READ_THROUGH:
            index[layout.channel] = slice(low, high + 1)
            return _plane(array, index, layout)[..., [band - low for band in layout.bands]]
        parts = []
        for band in layout.bands:
            index[layout.channel] = slice(band, band + 1)
            parts.append(_plane(array, index, layout))
        return np.concatenate(parts, -1)


def _plane(array: Any, index: list[int | slice], layout: Layout) -> npt.NDArray[Any]:
    """The indexed part as (rows, cols[, channels]); the leading axes are gone."""
    part = _values(array, tuple(index))
    kept = [axis for axis in (layout.rows, layout.cols, layout.channel) if axis is not None]
    order = sorted(kept)
    return part.transpose([order.index(axis) for axis in kept])


def _values(array: Any, index: tuple[int | slice, ...]) -> npt.NDArray[Any]:
    """A part of an array; masked values are NaN, in a float type that holds the others.

    Raises
    ------
    InputError
        When what reads or computes them fails, or gives another shape than the array states.
    """
    name = name_of(array)
    try:
        with reading(name):
            part = array[index]
            # numpy's own way to the values of a dask array loses what is masked
            part = np.asanyarray(part.compute() if hasattr(part, "compute") else part)
    except IsegError:
        raise
    except Exception as error:  # a lazy array computes by whatever code its maker gave it
        raise InputError(
            f"{name} could not be computed ({type(error).__name__}: {error}); mend what computes its values."
        ) from error
    sizes = zip(index, array.shape, strict=True)
    wanted = tuple(len(range(*span.indices(size))) for span, size in sizes if isinstance(span, slice))
    if part.shape != wanted:
        raise InputError(
            f"{name} gave {part.shape} values where its shape {tuple(array.shape)} promises {wanted}; mend "
            "what computes it, as dask.array.map_blocks does not look at shapes."
        )
    if isinstance(part, np.ma.MaskedArray):
        part = np.ma.filled(part.astype(np.result_type(part.dtype, np.float16)), np.nan)
    return np.asarray(part)
