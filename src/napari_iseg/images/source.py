"""PlaneSource: a lazily read 2-D window of any array, at any scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError
from napari_iseg.images.asked import Asked, asked_of
from napari_iseg.images.averaging import Means
from napari_iseg.images.blocks import block_means, split
from napari_iseg.images.damage import unless_damaged
from napari_iseg.images.intensity import Stretch, needs_sample, stretch_for
from napari_iseg.images.layout import as_levels, layout_of
from napari_iseg.images.pyramid import Pyramid
from napari_iseg.images.sampling import sample_places
from napari_iseg.own_lock import OwnLock
from napari_iseg.prompts import Edges, Window

Bool = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]


class PlaneSource:
    """A lazily read 2-D window of any image, at any scale, as RGB in [0, 1].

    Make one with ``PlaneSource.wrap``. Reading is thread-safe where reading the arrays is; a source can be
    pickled and copied where they can.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns of a plane at full resolution.
    leading_shape : tuple of int
        Sizes of the other axes; () for a 2-D image.
    axes : tuple of int
        Which axis of the image the leading axes, the rows and the columns are, its channels not counted.
    """

    def __init__(self, pyramid: Pyramid) -> None:
        self._pyramid = pyramid
        self._stretch: Stretch | None = None
        self._gaps_of: PlaneSource | None = None  # itself would be a cycle, which keeps its pixels in memory
        self._lock = OwnLock()
        self.shape: tuple[int, int] = pyramid.shape(0)
        self.leading_shape: tuple[int, ...] = pyramid.leading_shape
        layout = pyramid.layout
        used = (*layout.leading, layout.rows, layout.cols)
        self.axes: tuple[int, ...] = tuple(sorted(used).index(axis) for axis in used)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but what is looked up again."""
        return {**self.__dict__, "_stretch": None}

    @classmethod
    def wrap(
        cls,
        image: Any,
        *,
        rgb: bool | None = None,
        plane_axes: tuple[int, int] | None = None,
        channel_axis: int | None = None,
        bands: Sequence[int] | None = None,
    ) -> PlaneSource:
        """A source for an image; nothing is read yet.

        Parameters
        ----------
        image : array_like, sequence of arrays, or PlaneSource
            (..., rows, cols) or (..., rows, cols, 3 or 4): numpy, zarr, dask, xarray, anything with
            ``shape``, ``dtype`` and slicing; or the levels of a multiscale image, finest first. The names
            that xarray gives to rows, columns and channels (y, x, c) count where none of ``rgb``,
            ``plane_axes`` and ``channel_axis`` is given. A PlaneSource is returned as it is.
        rgb
            Whether the last axis holds colours; None: yes if there are three axes or more and its size is 3
            or 4.
        plane_axes
            Axes of rows and columns; None: the last two that are not channels.
        channel_axis
            Axis of the channels where it is not a colour picture's last.
        bands
            One to three channels shown to the network. One is replicated, with two the third is 0. None:
            the first three, so alpha and further channels are left out. Without ``channel_axis`` the
            shorter of the first and the last axis of a 3-D image holds the channels (the last one if they
            are equal).

        Raises
        ------
        InputError
            If the image is empty, not numeric, complex, no pyramid, its levels name their axes differently,
            or the axes or bands do not exist.
        """
        if isinstance(image, PlaneSource):
            if any(option is not None for option in (rgb, plane_axes, channel_axis, bands)):
                raise InputError(
                    "A PlaneSource keeps its axes and bands; wrap the array anew to change them."
                )
            return image
        levels = as_levels(image)
        shape = tuple(int(size) for size in levels[0].shape)
        layout = layout_of(
            image, shape, rgb=rgb, plane_axes=plane_axes, channel_axis=channel_axis, bands=bands
        )
        if layout.channel is not None and any(
            level.shape[layout.channel] != shape[layout.channel] for level in levels
        ):
            raise InputError("The levels of a multiscale image must all have the same channels.")
        return cls(Pyramid(levels, layout))

    def read(
        self, window: Window | Edges, plane: Sequence[int] | int = (), scale: int = 1
    ) -> npt.NDArray[np.float32]:
        """The pixels of a window, stretched by one rule for the whole image.

        Parameters
        ----------
        window : Window or (top, left, bottom, right)
            In level-0 pixels; must lie inside the plane and hold at least one pixel.
        plane : tuple of int
            One index per leading axis; the index alone where there is one.
        scale : int
            Level-0 pixels per pixel of the answer; each is the mean of the pixels it covers, read from the
            coarsest level that is still at least as fine.

        Returns
        -------
        (ceil(height / scale), ceil(width / scale), 3) float32
            RGB in [0, 1]. uint8 is divided by 255; other types are stretched between the 0.1 and 99.9
            percentiles of a bounded sample of the whole image (all planes), colours together, other bands
            each alone. NaN, infinities, masked values and constant images are 0.

        Raises
        ------
        InputError
            If window, plane or scale do not fit the image.
        """
        return _rgb(self._means(self._asked(window, plane, scale), self.stretch(), self._bands))

    def valid(
        self, window: Window | Edges, plane: Sequence[int] | int = (), scale: int = 1
    ) -> npt.NDArray[np.bool_] | None:
        """Which pixels of a window hold a value in any band: not NaN, infinite or masked (GDAL's nodata).

        One band will do, as in GDAL's own masks: a dark pixel may well be 0, the nodata value, in the red
        band alone. Parameters and errors are those of ``read``.

        Returns
        -------
        (ceil(height / scale), ceil(width / scale)) bool or None
            None where all do. At a coarser scale, whether any pixel covered does. Nothing is read of an image
            whose type has no such pixels.
        """
        values = self._gaps_of or self
        asked = values._asked(window, plane, scale)
        if not values._pyramid.has_gaps(asked.level):
            return None
        return _all_or(values._means(asked, _seen, 1)[..., 0])

    def look(
        self, window: Window | Edges, plane: Sequence[int] | int = (), scale: int = 1
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_] | None]:
        """What ``read`` and ``valid`` give, from reading once."""
        asked = self._asked(window, plane, scale)
        if self._gaps_of is not None or not self._pyramid.has_gaps(asked.level):
            return self.read(window, plane, scale), self.valid(window, plane, scale)
        stretch, bands = self.stretch(), self._bands

        def convert(values: npt.NDArray[Any]) -> Floats:
            pixels = stretch(values)
            return pixels if np.isfinite(values).all() else np.concatenate([pixels, _seen(values)], -1)

        means = self._means(asked, convert, bands + 1)
        return _rgb(means[..., :bands]), _all_or(means[..., bands])

    def holds_values(self, window: Window, plane: tuple[int, ...] = (), scale: int = 1) -> bool:
        """Whether any pixel of a window is ``valid``."""
        valid = self.valid(window, plane, scale)
        return valid is None or bool(valid.any())

    def take_gaps_of(self, values: PlaneSource) -> None:
        """Let another image say which pixels are ``valid``: that which this picture was made from.

        InputError where its planes have another shape.
        """
        if (values.shape, values.leading_shape) != (self.shape, self.leading_shape):
            sizes = [(*source.leading_shape, *source.shape) for source in (self, values)]
            raise InputError(f"A picture of {sizes[0]} pixels is not made from values of {sizes[1]}.")
        self._gaps_of = values

    def stretch(self) -> Stretch:
        """The intensities that become 0 and 1; looked up on the first call, from a bounded sample.

        What is damaged of the sample is left out; DamageError when all of it is.
        """
        with self._lock:
            if self._stretch is None:
                dtype = self._pyramid.dtype
                sample = self._sample() if needs_sample(dtype) else None
                self._stretch = stretch_for(dtype, sample, joint=self._pyramid.layout.rgb, bands=self._bands)
            return self._stretch

    @property
    def _bands(self) -> int:
        return len(self._pyramid.layout.bands)

    def _asked(self, window: Window | Edges, plane: Sequence[int] | int, scale: int) -> Asked:
        return asked_of(self._pyramid, window, plane, scale)

    def _means(self, asked: Asked, convert: Callable[[npt.NDArray[Any]], Floats], channels: int) -> Floats:
        """(rows, cols, channels) means of converted values in the cells of ``scale`` pixels of a window.

        Channels that ``convert`` leaves out are 1.
        """
        pyramid, level, window = self._pyramid, asked.level, asked.window
        rows = _edges(window.top, window.bottom, asked.scale, pyramid.factor(level, 0))
        cols = _edges(window.left, window.right, asked.scale, pyramid.factor(level, 1))
        (top, bottom), (left, right) = map(_whole, (rows, cols), pyramid.shape(level))
        shown = Window(top, left, bottom, right)
        bytes_per_pixel = pyramid.dtype.itemsize * self._bands
        answer = np.empty((len(rows) - 1, len(cols) - 1, channels), np.float32)
        for part, means in block_means(
            lambda block: pyramid.raw(level, block, asked.plane),
            convert,
            channels,
            shown,
            Means(rows - top, shown.height),
            Means(cols - left, shown.width),
            split(shown, pyramid.borders(level), bytes_per_pixel),
        ):
            answer[part] = means
        return answer

    def _sample(self) -> npt.NDArray[Any]:
        """(N, bands) values spread over all planes of the coarsest level."""
        level, bands = self._pyramid.coarsest, self._bands
        places = sample_places(self._pyramid.shape(level), math.prod(self.leading_shape), bands)

        def values(flat: int, window: Window) -> npt.NDArray[Any]:
            plane = tuple(int(i) for i in np.unravel_index(flat, self.leading_shape))
            return self._pyramid.raw(level, window, plane).reshape(-1, bands)

        read = (unless_damaged(partial(values, *place)) for place in places)
        found = [part for part in read if part is not None]
        return np.concatenate(found or [values(*places[0])])  # of nothing: raises what is wrong


def _rgb(means: Floats) -> Floats:
    """(rows, cols, 3) of one to three bands: one is replicated, with two the third is 0."""
    bands = means.shape[-1]
    if bands == 3:
        return np.ascontiguousarray(means)
    pixels = np.zeros((*means.shape[:2], 3), np.float32)
    pixels[..., : 3 if bands == 1 else bands] = means
    return pixels


def _seen(values: npt.NDArray[Any]) -> Floats:
    """(rows, cols, 1): 1 where values (rows, cols, bands) are there in any band, else 0."""
    return np.asarray(np.isfinite(values).any(-1, keepdims=True), np.float32)


def _all_or(share: Floats) -> Bool | None:
    """Where something was seen, by the share of it in each cell; None where that is everywhere."""
    valid = share > 0
    return None if valid.all() else valid


def _edges(start: int, stop: int, scale: int, factor: float) -> npt.NDArray[np.float64]:
    """Borders of the cells of ``scale`` level-0 pixels from start to stop, in pixels of a level."""
    return np.append(np.arange(start, stop, scale), stop) / factor


def _whole(edges: npt.NDArray[np.float64], size: int) -> tuple[int, int]:
    """The pixels that cells touch; never empty, also where a level has lost the last fraction of a pixel."""
    low = min(int(np.floor(edges[0])), size - 1)
    return low, max(low + 1, min(int(np.ceil(edges[-1])), size))
