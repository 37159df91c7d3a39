"""PlaneSource: a lazily read 2-D window of any array, at any scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import product
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError
from napari_iseg.images.averaging import Means
from napari_iseg.images.blocks import Span, block_means, split
from napari_iseg.images.damage import unless_damaged
from napari_iseg.images.intensity import Stretch, needs_sample, stretch_for
from napari_iseg.images.layout import as_levels, layout_of
from napari_iseg.images.pyramid import Pyramid
from napari_iseg.images.sampling import sample_places
from napari_iseg.prompts import Window


class PlaneSource:
    """A lazily read 2-D window of any image, at any scale, as RGB in [0, 1].

    Make one with ``PlaneSource.wrap``. Reading is thread-safe where reading the arrays is.

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
        self._lock = Lock()
        self.shape: tuple[int, int] = pyramid.shape(0)
        self.leading_shape: tuple[int, ...] = pyramid.leading_shape
        layout = pyramid.layout
        used = (*layout.leading, layout.rows, layout.cols)
        self.axes: tuple[int, ...] = tuple(sorted(used).index(axis) for axis in used)

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
        image : array-like, sequence of arrays, or PlaneSource
            (..., rows, cols) or (..., rows, cols, 3 or 4): numpy, zarr, dask, xarray, anything with
            ``shape``, ``dtype`` and slicing; or the levels of a multiscale image, finest first. A
            PlaneSource is returned as it is.
        rgb : bool or None
            Whether the last axis holds colours; None: yes if there are three axes or more and its size is 3
            or 4.
        plane_axes : (int, int) or None
            Axes of rows and columns; None: the last two that are not channels.
        channel_axis : int or None
            Axis of the channels where it is not a colour picture's last.
        bands : one to three int, or None
            Channels shown to the network. One is replicated, with two the third is 0. None: the first
            three, so alpha and further channels are left out. Without ``channel_axis`` the shorter of the
            first and the last axis of a 3-D image holds the channels (the last one if they are equal).

        Raises
        ------
        InputError
            If the image is empty, not numeric, complex, no pyramid, or the axes or bands do not exist.
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

    def read(self, window: Window, plane: tuple[int, ...] = (), scale: int = 1) -> npt.NDArray[np.float32]:
        """The pixels of a window, stretched by one rule for the whole image.

        Parameters
        ----------
        window : Window
            In level-0 pixels; must lie inside the plane and hold at least one pixel.
        plane : tuple of int
            One index per leading axis.
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
        self._check(window, plane, scale)
        pyramid, level = self._pyramid, self._pyramid.level_for(scale)
        bands = pyramid.layout.bands
        rows, cols, shown = self._cells(window, level, scale)
        answer = np.zeros((len(rows) - 1, len(cols) - 1, 3), np.float32)
        for part, means in block_means(
            lambda block: pyramid.raw(level, block, plane),
            self.stretch(),
            shown,
            Means(rows - shown.top, shown.height),
            Means(cols - shown.left, shown.width),
            self._blocks(shown, level),
        ):
            answer[part, :, : len(bands)] = means
        if len(bands) == 1:
            answer[..., 1:] = answer[..., :1]
        return answer

    def holds_values(self, window: Window, plane: tuple[int, ...] = (), scale: int = 1) -> bool:
        """Whether there is anything in a window but NaN, infinities and masked values, which are all 0.

        Parameters are those of ``read``.
        """
        level = self._pyramid.level_for(scale)
        shown = self._cells(window, level, scale)[2]
        return not self._pyramid.has_gaps(level) or any(
            bool(np.isfinite(self._pyramid.raw(level, Window(top, left, bottom, right), plane)).any())
            for (top, bottom), (left, right) in product(*self._blocks(shown, level))
        )

    def stretch(self) -> Stretch:
        """The intensities that become 0 and 1; looked up on the first call, from a bounded sample.

        What is damaged of the sample is left out; DamageError when all of it is.
        """
        with self._lock:
            if self._stretch is None:
                dtype = self._pyramid.dtype
                sample = self._sample() if needs_sample(dtype) else None
                bands = len(self._pyramid.layout.bands)
                self._stretch = stretch_for(dtype, sample, joint=self._pyramid.layout.rgb, bands=bands)
            return self._stretch

    def _cells(
        self, window: Window, level: int, scale: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], Window]:
        """Borders of the cells of ``scale`` pixels along rows and columns, and what they touch of a level."""
        rows = _edges(window.top, window.bottom, scale, self._pyramid.factor(level, 0))
        cols = _edges(window.left, window.right, scale, self._pyramid.factor(level, 1))
        (top, bottom), (left, right) = map(_whole, (rows, cols), self._pyramid.shape(level))
        return rows, cols, Window(top, left, bottom, right)

    def _blocks(self, shown: Window, level: int) -> tuple[list[Span], list[Span]]:
        """How to go through a window of a level; see ``split``."""
        pixel = self._pyramid.dtype.itemsize * len(self._pyramid.layout.bands)
        return split(shown, self._pyramid.borders(level), pixel)

    def _check(self, window: Window, plane: tuple[int, ...], scale: int) -> None:
        leaves = window.union(Window.of_shape(self.shape)).shape != self.shape
        if window.height < 1 or window.width < 1 or leaves:
            size = f"{self.shape[0]} x {self.shape[1]}"
            raise InputError(f"The window {window} does not lie inside the image of {size} pixels.")
        fits = len(plane) == len(self.leading_shape)
        if not fits or any(not 0 <= i < n for i, n in zip(plane, self.leading_shape, strict=True)):
            raise InputError(f"The plane {plane} is not one of the image's {self.leading_shape} planes.")
        if scale < 1:
            raise InputError(f"The scale must be at least 1 pixel per pixel, got {scale}.")

    def _sample(self) -> npt.NDArray[Any]:
        """(N, bands) values spread over all planes of the coarsest level."""
        level, bands = self._pyramid.coarsest, len(self._pyramid.layout.bands)
        places = sample_places(self._pyramid.shape(level), math.prod(self.leading_shape), bands)

        def values(flat: int, window: Window) -> npt.NDArray[Any]:
            plane = tuple(int(i) for i in np.unravel_index(flat, self.leading_shape))
            return self._pyramid.raw(level, window, plane).reshape(-1, bands)

        read = (unless_damaged(partial(values, *place)) for place in places)
        found = [part for part in read if part is not None]
        return np.concatenate(found or [values(*places[0])])  # of nothing: raises what is wrong


def _edges(start: int, stop: int, scale: int, factor: float) -> npt.NDArray[np.float64]:
    """Borders of the cells of ``scale`` level-0 pixels from start to stop, in pixels of a level."""
    return np.append(np.arange(start, stop, scale), stop) / factor


def _whole(edges: npt.NDArray[np.float64], size: int) -> tuple[int, int]:
    """The pixels that cells touch; never empty, also where a level has lost the last fraction of a pixel."""
    low = min(int(np.floor(edges[0])), size - 1)
    return low, max(low + 1, min(int(np.ceil(edges[-1])), size))
