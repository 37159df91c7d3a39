"""Arrays that are read by windows and made on the way from what lies below them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


class LazyArray(ABC):
    """What numpy and ``PlaneSource`` ask of an array.

    Attributes
    ----------
    shape, dtype, ndim : as numpy has them
    chunks : sizes of the chunks, where there are some
    store : where the array lies; its ``root`` names the file
    """

    def __init__(
        self, shape: Sequence[int], dtype: Any, chunks: Sequence[int] | None = None, store: Any = None
    ) -> None:
        self.shape: tuple[int, ...] = tuple(int(size) for size in shape)
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.ndim = len(self.shape)
        self.chunks = chunks
        self.store = store

    @abstractmethod
    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        """A part; integers and slices at least."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """All values."""
        whole = np.asarray(self[...])
        return whole if dtype is None else whole.astype(dtype)


class LookedUp(LazyArray):
    """An array of indices, seen as what a table holds for each: greys, or colours on a new last axis.

    Parameters
    ----------
    array : numpy or zarr array of unsigned integers or booleans
    table : (entries,) or (entries, 3) uint8
    """

    def __init__(self, array: Any, table: npt.NDArray[np.uint8]) -> None:
        more, chunks = table.shape[1:], getattr(array, "chunks", None)
        super().__init__(
            (*array.shape, *more),
            table.dtype,
            None if chunks is None else (*chunks, *more),
            getattr(array, "store", None),
        )
        self._array, self._table = array, table

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        full = full_index(index, self.ndim)
        count = len(self._array.shape)
        found = np.asarray(self._array[full[:count]])
        return np.take(self._table, found, axis=0)[(..., *full[count:])]  # as an index, booleans are a mask


class Turned(LazyArray):
    """An array with its axes in another order, as ``numpy.transpose`` gives them."""

    def __init__(self, array: Any, order: Sequence[int]) -> None:
        chunks = getattr(array, "chunks", None)
        super().__init__(
            [array.shape[axis] for axis in order],
            array.dtype,
            None if chunks is None else tuple(chunks[axis] for axis in order),
            getattr(array, "store", None),
        )
        self._array, self._order = array, tuple(order)

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        full = full_index(index, self.ndim)
        part = np.asarray(self._array[tuple(full[self._order.index(axis)] for axis in range(self.ndim))])
        kept = [axis for axis, span in zip(self._order, full, strict=True) if isinstance(span, slice)]
        return part.transpose([sorted(kept).index(axis) for axis in kept])


def full_index(index: Any, ndim: int) -> tuple[Any, ...]:
    """An index with one entry per axis: what "..." and missing ones stand for written out."""
    parts = index if isinstance(index, tuple) else (index,)
    at = next((i for i, part in enumerate(parts) if part is Ellipsis), len(parts))
    before, after = parts[:at], parts[at + 1 :]
    return (*before, *(slice(None),) * (ndim - len(before) - len(after)), *after)
