"""Pixels without data in a raster of GDAL's: one value that stands for "nothing was seen here"."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_iseg.images.lazy import LazyArray

TAG = 42113  # GDAL_NODATA: the number as text


@contextmanager
def quiet_tags() -> Iterator[None]:
    """A block in which tifffile does not complain of the lowest float32, a usual value of elevations."""

    def other(record: logging.LogRecord) -> bool:
        return "GDAL_NODATA" not in record.getMessage()

    logger = logging.getLogger("tifffile")
    logger.addFilter(other)
    try:
        yield
    finally:
        logger.removeFilter(other)


class Masked(LazyArray):
    """A lazily read array with one value masked, or put in its place another one.

    Parameters
    ----------
    array : numpy or zarr array of any shape
    value : which value, of the array's type
    fill : what stands in its place; None: parts are read as masked arrays
    """

    def __init__(self, array: Any, value: Any, fill: Any = None) -> None:
        chunks, store = getattr(array, "chunks", None), getattr(array, "store", None)
        super().__init__(array.shape, array.dtype, chunks, store)
        self._array, self._value, self._fill = array, value, fill

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        part = np.asarray(self._array[index])  # of a masked array, too: all its values
        empty = part == self._value
        return np.ma.MaskedArray(part, empty) if self._fill is None else np.where(empty, self._fill, part)


def background_where(labels: Any, value: Any) -> Masked:
    """Labels with 0 where they have no data."""
    return Masked(labels, value, labels.dtype.type(0))


def stated_nodata(text: Any, dtype: np.dtype[Any]) -> Any:
    """The value that a tag's text names, of the image's type; None where there is none such, or NaN is it."""
    try:
        number = float(text)
    except (TypeError, ValueError):
        return None
    if math.isnan(number) or dtype.kind not in "iuf":
        return None
    if dtype.kind == "f":
        limit = float(np.finfo(dtype).max)  # as a double may lie beyond it, which is written as the limit
        return dtype.type(max(-limit, min(number, limit)) if math.isfinite(number) else number)
    limits = np.iinfo(dtype)
    if not number.is_integer() or not limits.min <= number <= limits.max:
        return None
    return dtype.type(int(number))


def without_nodata(levels: Any, value: Any) -> Any:
    """An image, or the levels of a pyramid, with the pixels of ``value`` masked.

    Bytes are shown as they are, without a stretch that those pixels could spoil: they stay, as colours that
    reach the value are seen data.
    """
    if value is None or value.dtype == np.uint8:
        return levels
    if isinstance(levels, list):
        return [Masked(level, value) for level in levels]
    return Masked(levels, value)
