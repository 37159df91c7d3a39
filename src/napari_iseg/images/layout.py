"""What an image's axes mean, and which of its values a network sees."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import sparse

from napari_iseg.errors import InputError

_CHANNEL_NAMES = frozenset({"c", "ch", "channel", "channels", "band", "bands", "rgb", "rgba"})


@dataclass(frozen=True, slots=True)
class Layout:
    """Axes of an image: two of the plane, perhaps one of channels, and the leading ones (planes) in order.

    Attributes
    ----------
    rows, cols : int
        Axes of the plane.
    channel : int or None
        Axis of the channels; None for a grey image.
    leading : tuple of int
        The other axes.
    bands : tuple of int
        One to three channels shown to the network; one is replicated, with two the third is 0.
    rgb : bool
        Whether the channels are one colour picture, stretched together; otherwise each band is stretched
        alone.
    """

    rows: int
    cols: int
    channel: int | None
    leading: tuple[int, ...]
    bands: tuple[int, ...]
    rgb: bool


def as_levels(image: Any) -> list[Any]:
    """The image as a list of arrays, finest first: one array, or the levels of a multiscale image.

    Raises
    ------
    InputError
        If it is no array, has no pixels, holds values that are no numbers, or its levels form no pyramid.
    """
    if isinstance(image, (str, bytes)) or hasattr(image, "__fspath__"):
        raise InputError(f"The image is a path ({image!r}); open the file first and give the array.")
    levels = [_bare(level) for level in _given_levels(image)]
    for level in levels:
        _check_array(level)
    for fine, coarse in pairwise(levels):
        pairs = list(zip(fine.shape, coarse.shape, strict=False))
        shrinks = all(c <= f for f, c in pairs) and any(c < f for f, c in pairs)
        if len(fine.shape) != len(coarse.shape) or not shrinks:
            raise InputError(
                "The levels of a multiscale image must have the same axes and shrink, "
                f"got {tuple(fine.shape)} before {tuple(coarse.shape)}; give them finest first "
                "(planes of a stack belong into one array: numpy.stack)."
            )
    return levels


def layout_of(
    image: Any,
    shape: tuple[int, ...],
    *,
    rgb: bool | None,
    plane_axes: tuple[int, int] | None,
    channel_axis: int | None,
    bands: Sequence[int] | None,
) -> Layout:
    """The meaning of the axes of an image of ``shape``; see ``PlaneSource.wrap`` for the rules.

    ``image`` is only asked for named axes (xarray's ``dims``).
    """
    if channel_axis is None and rgb is None and plane_axes is None:
        channel_axis, plane_axes = _named(image, len(shape))
    channel, is_rgb = _channel_axis(shape, rgb, plane_axes, channel_axis, bands)
    rows, cols = _plane_axes(shape, plane_axes, channel)
    leading = tuple(axis for axis in range(len(shape)) if axis not in (rows, cols, channel))
    chosen = (0,) if channel is None else _bands(shape[channel], bands)
    return Layout(rows, cols, channel, leading, chosen, is_rgb and bands is None)


def _given_levels(image: Any) -> list[Any]:
    return list(image) if _is_multiscale(image) else [image]


def _is_multiscale(image: Any) -> bool:
    """A sequence of arrays (a list, a tuple, napari's MultiScaleData), but not a nested list of numbers."""
    listed = hasattr(image, "__len__") and hasattr(image, "__getitem__") and not hasattr(image, "dtype")
    if not (listed or isinstance(image, Sequence)):
        return False
    if len(image) == 0:
        raise InputError("The image is empty: it has no pixels and no levels; give at least one array.")
    return all(hasattr(level, "dtype") and len(getattr(level, "shape", ())) >= 2 for level in image)


def _bare(level: Any) -> Any:
    """The array inside an xarray object, the array of a nested list, or the array itself."""
    if hasattr(level, "dims") and hasattr(level, "data"):
        return level.data
    if hasattr(level, "array_keys"):
        held = ", ".join(repr(key) for key in sorted(level.array_keys())[:4]) or "no array"
        raise InputError(
            f"The image is a zarr group, which holds {held}; give an array of it, as group['0'], or a list "
            "of its levels, finest first."
        )
    if sparse.issparse(level):
        raise InputError("The image is a sparse matrix; give all its values: image.toarray().")
    try:
        if hasattr(level, "shape") and isinstance(np.dtype(level.dtype), np.dtype):
            return level
    except (AttributeError, TypeError):  # not a numpy dtype: torch, tables and the like
        pass
    try:
        return np.asarray(level)
    except (TypeError, ValueError, RuntimeError) as error:  # the last of torch, with the fix
        raise InputError(
            f"The image is no array of numbers ({error}); give a numpy, dask or zarr array."
        ) from error


def _check_array(level: Any) -> None:
    dtype = np.dtype(level.dtype)
    if dtype.kind == "c":
        raise InputError(f"The image is complex ({dtype}); give its magnitude, for example numpy.abs(image).")
    if dtype.kind not in "buif":
        raise InputError(f"The image holds {dtype} values, no numbers; give integers, floats or booleans.")
    if len(level.shape) < 2:
        raise InputError(f"The image needs rows and columns, got an array of shape {tuple(level.shape)}.")
    if any(size != size for size in level.shape):  # NaN is what dask says before it has counted
        raise InputError(
            f"The sizes of the image's chunks are not known (its shape is {tuple(level.shape)}); call "
            "compute_chunk_sizes() first."
        )
    if 0 in level.shape:
        raise InputError(f"The image is empty: its shape is {tuple(level.shape)}; give at least one pixel.")


def _named(image: Any, ndim: int) -> tuple[int | None, tuple[int, int] | None]:
    """Channel and plane axes by name, where the image, or a level of it, names them (xarray)."""
    stated = {_names(level) for level in _given_levels(image)} - {()}
    if len(stated) > 1:
        told = " and ".join(sorted(f"({', '.join(names)})" for names in stated))
        raise InputError(
            f"The levels of a multiscale image must name their axes alike, got {told}; transpose them."
        )
    dims = stated.pop() if stated else ()
    if len(dims) != ndim:
        return None, None
    channel = next((axis for axis, name in enumerate(dims) if name in _CHANNEL_NAMES), None)
    plane = (dims.index("y"), dims.index("x")) if {"y", "x"} <= set(dims) else None
    return channel, plane


def _names(level: Any) -> tuple[str, ...]:
    """The names of the axes; () where it has none."""
    names = tuple(getattr(level, "dims", ()))
    return tuple(map(str.lower, names)) if all(isinstance(name, str) for name in names) else ()


def _channel_axis(
    shape: tuple[int, ...],
    rgb: bool | None,
    plane_axes: tuple[int, int] | None,
    channel_axis: int | None,
    bands: Sequence[int] | None,
) -> tuple[int | None, bool]:
    """The channel axis, and whether it holds a colour picture."""
    ndim = len(shape)
    if channel_axis is not None:
        if rgb:
            raise InputError("Give rgb=True (colours on the last axis) or channel_axis, not both.")
        return axis_number(channel_axis, ndim, "channel_axis"), False
    is_plane = plane_axes is not None and ndim - 1 in _axes(plane_axes, ndim)
    looks_rgb = ndim >= 3 and shape[-1] in (3, 4) and not is_plane
    if rgb and not looks_rgb:
        raise InputError(f"An RGB image needs 3 or 4 values on its last axis, got shape {shape}.")
    if rgb or (rgb is None and looks_rgb):
        return ndim - 1, True
    if bands is None:
        return None, False
    if ndim != 3 or plane_axes is not None:
        raise InputError(f"Give channel_axis to choose bands of an image of shape {shape}.")
    return (0 if shape[0] < shape[2] else 2), False


def _plane_axes(
    shape: tuple[int, ...], plane_axes: tuple[int, int] | None, channel: int | None
) -> tuple[int, int]:
    rest = [axis for axis in range(len(shape)) if axis != channel]
    if len(rest) < 2:
        raise InputError(f"The image of shape {shape} needs two axes beside its channels: rows and columns.")
    if plane_axes is None:
        return rest[-2], rest[-1]
    rows, cols = _axes(plane_axes, len(shape))
    if rows == cols or channel in (rows, cols):
        raise InputError(
            f"plane_axes {plane_axes} must be two different axes, none of them the channel axis."
        )
    return rows, cols


def _bands(count: int, bands: Sequence[int] | None) -> tuple[int, ...]:
    """Chosen bands, checked; by default the first three (so alpha and further channels are left out)."""
    if bands is None:
        return tuple(range(min(3, count)))
    try:
        chosen = tuple(operator.index(band) for band in bands)
    except TypeError:
        raise InputError(f"Bands are whole numbers, counted from 0; got {bands!r}.") from None
    if not 1 <= len(chosen) <= 3 or any(not 0 <= band < count for band in chosen):
        raise InputError(
            f"Choose one to three bands from 0 to {count - 1} (the first is 0), got {list(bands)}."
        )
    return chosen


def _axes(axes: tuple[int, int], ndim: int) -> tuple[int, int]:
    if not hasattr(axes, "__len__") or len(axes) != 2:
        raise InputError(f"plane_axes needs two axes (rows, columns), got {axes}.")
    return axis_number(axes[0], ndim, "plane_axes"), axis_number(axes[1], ndim, "plane_axes")


def axis_number(axis: int, ndim: int, name: str) -> int:
    """An axis of an image, counted from 0; InputError for one that it does not have."""
    try:
        axis = operator.index(axis)
    except TypeError:
        raise InputError(f"{name} must be given by number, counted from 0; got {axis!r}.") from None
    if not -ndim <= axis < ndim:
        raise InputError(f"{name} {axis} does not exist in an image of {ndim} axes.")
    return axis % ndim
