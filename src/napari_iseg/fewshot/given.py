"""What users give as image, labels and clicks, brought to one form."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from napari_iseg.errors import InputError
from napari_iseg.fewshot.arguments import as_label
from napari_iseg.fewshot.collect import Clicks
from napari_iseg.fewshot.frame import Frame, Plane
from napari_iseg.images import PlaneSource
from napari_iseg.images.layout import as_levels, axis_number
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Click

PlaneAxes = tuple[int, int]


@dataclass(frozen=True)
class GivenLabels:
    """Labels as an array, and the store they come from if there is one."""

    array: Any | None
    store: LabelStore | None = None

    @classmethod
    def of(cls, labels: Any) -> GivenLabels:
        """From an array, a LabelStore, the path of one, or None.

        Raises
        ------
        InputError
            For a path without labels, or values that are no whole numbers.
        """
        if labels is None or isinstance(labels, GivenLabels):
            return labels if labels is not None else cls(None)
        if isinstance(labels, (str, Path)):
            labels = LabelStore.open(labels)
        if isinstance(labels, LabelStore):
            return cls(labels.levels[0], labels)
        try:
            array = labels if hasattr(labels, "dtype") and hasattr(labels, "shape") else np.asarray(labels)
        except ValueError as error:
            raise InputError(f"The labels are no array ({error}); give rows of equal length.") from error
        array = getattr(array, "data", array) if hasattr(array, "dims") else array
        if np.dtype(array.dtype).kind not in "bui":
            raise InputError(f"Labels are whole numbers, got an array of {array.dtype}; give integer ids.")
        return cls(array)


@dataclass(frozen=True)
class GivenImage:
    """An image with or without a channel axis, its plane axes still open.

    Attributes
    ----------
    image : array-like, levels of a pyramid, PlaneSource, or a callable (plane axes or None) -> PlaneSource,
        whose plane axes are counted without the channel axis
    """

    image: Any
    rgb: bool | None = None
    channel_axis: int | None = None
    bands: Sequence[int] | None = None

    def shape(self) -> tuple[int, ...]:
        """Shape without the channel axis."""
        if self._is_opener:
            source: PlaneSource = self.image(None)
        else:
            source = PlaneSource.wrap(self.image, **self._options())
        return (*source.leading_shape, *source.shape)

    @property
    def _is_opener(self) -> bool:
        return callable(self.image) and not hasattr(self.image, "shape")

    def opener(self, frame: Frame) -> Callable[[], PlaneSource]:
        """Opens the image with the frame's planes; picklable if the image is.

        Raises
        ------
        InputError
            When the image has other axes than the labels, or its channels can no longer be chosen.
        """
        if isinstance(self.image, PlaneSource) or self._is_opener:
            self._refuse_options()
        axes = (frame.rows, frame.cols)
        if isinstance(self.image, PlaneSource):
            if axes != (len(frame.shape) - 2, len(frame.shape) - 1):
                raise InputError("A PlaneSource keeps its planes; give the array to slice another axis.")
            return partial(_same, self.image)
        if self._is_opener:
            return partial(self.image, axes)
        channel = self._channel(frame.shape)
        shift = [axis + (channel is not None and axis >= channel) for axis in axes]
        options: dict[str, Any] = {"plane_axes": (shift[0], shift[1]), "bands": self.bands}
        if channel is None:  # then bands are refused when it is opened, with the words of any such image
            options["rgb"] = False
        elif self._is_rgb(channel):
            options["rgb"] = True
        else:
            options["channel_axis"] = channel
        return partial(PlaneSource.wrap, self.image, **options)

    def _options(self) -> dict[str, Any]:
        return {"rgb": self.rgb, "channel_axis": self.channel_axis, "bands": self.bands}

    def _refuse_options(self) -> None:
        """Refuse to choose channels of what is opened already, or opens itself: nobody would heed it."""
        given = [name for name, value in self._options().items() if value is not None]
        if given:
            raise InputError(
                f"A PlaneSource, or a function that opens one, has its channels already; give {given[0]} to "
                "PlaneSource.wrap instead."
            )

    def _array_shape(self) -> tuple[int, ...]:
        return tuple(int(size) for size in as_levels(self.image)[0].shape)

    def _channel(self, labels: tuple[int, ...]) -> int | None:
        """The axis of the image that the labels do not have."""
        shape = self._array_shape()
        if len(shape) == len(labels) and self.channel_axis is None and not self.rgb:
            return None
        ndim = len(shape)
        given = self.channel_axis
        tried = [ndim - 1, *range(ndim - 1)] if given is None else [axis_number(given, ndim, "channel_axis")]
        for axis in tried:
            if (*shape[:axis], *shape[axis + 1 :]) == labels:
                return axis
        raise InputError(
            f"An image of shape {shape} does not go with labels of shape {labels}; give labels of the "
            "image's shape without its channel axis."
        )

    def _is_rgb(self, channel: int) -> bool:
        shape = self._array_shape()
        fits = channel == len(shape) - 1 and shape[-1] in (3, 4) and self.bands is None
        return fits and self.rgb is not False and self.channel_axis is None


def given_clicks(
    clicks: Mapping[int | Plane, Sequence[tuple[int, Click]]] | None, store: LabelStore | None, frame: Frame
) -> Clicks | None:
    """Clicks per plane: those given, and those that a label store remembers of its objects.

    Raises
    ------
    InputError
        For a plane that does not exist, a label that is none, or anything else than clicks.
    """
    found: dict[Plane, list[tuple[int, Click]]] = {}
    for place, pairs in _click_pairs(clicks):
        plane = place if isinstance(place, tuple) else (place,)
        if len(plane) != len(frame.leading_shape) or any(
            not 0 <= i < n for i, n in zip(plane, frame.leading_shape, strict=True)
        ):
            raise InputError(f"There are clicks on the plane {place}, which does not exist.")
        found.setdefault(plane, []).extend((as_label(label), click) for label, click in pairs)
    default = (frame.rows, frame.cols) == (len(frame.shape) - 2, len(frame.shape) - 1)
    if store is not None and store.path is None and default:
        for label in store.labels:
            for trace in store.traces_of(label):
                own = [(label, click) for click in trace.prompts.clicks]
                if own:
                    found.setdefault(trace.plane, []).extend(own)
    return found or None


def _click_pairs(clicks: Any) -> Iterable[tuple[int | Plane, Sequence[tuple[Any, Click]]]]:
    """What is given as clicks, plane by plane, once it has that form."""
    try:
        found = [
            (
                tuple(map(operator.index, place)) if isinstance(place, tuple) else operator.index(place),
                [(label, click) for label, click in pairs],
            )
            for place, pairs in (clicks.items() if clicks is not None else ())
        ]
    except (AttributeError, TypeError, ValueError):
        found = None
    if found is None or not all(isinstance(click, Click) for _, pairs in found for _, click in pairs):
        raise InputError(
            "clicks are pairs of a label and a Click per plane, as {3: [(1, Click(20, 31))]}; of a scene the "
            "plane is ()."
        )
    return found


def known_planes(store: LabelStore | None, frame: Frame) -> list[Plane] | None:
    """Planes that a store in memory has objects in; None where they must be searched."""
    default = (frame.rows, frame.cols) == (len(frame.shape) - 2, len(frame.shape) - 1)
    if store is None or store.path is not None or not default or not store.labels:
        return None
    return sorted({trace.plane for label in store.labels for trace in store.traces_of(label)})


def plane_list(
    planes: range | slice | Sequence[int] | Sequence[Plane] | None, frame: Frame
) -> list[Plane] | None:
    """Plane indices of what a user gives: numbers along the slicing axis take all of the other axes.

    Raises
    ------
    InputError
        For a plane that does not exist, or an empty choice.
    """
    if planes is None:
        return None
    if frame.slicing is None:
        if list(planes if not isinstance(planes, slice) else [0]) != [()]:
            raise InputError("A scene is one plane; leave planes out.")
        return [()]
    size, place = frame.shape[frame.slicing], frame.place
    if isinstance(planes, slice):
        planes = range(*planes.indices(size))
    others = [plane for plane in frame.planes() if plane[place] == 0]
    chosen: set[Plane] = set()
    for wanted in planes:
        if isinstance(wanted, tuple):
            chosen.add(tuple(int(i) for i in wanted))
        else:
            chosen.update((*p[:place], int(wanted), *p[place + 1 :]) for p in others)
    for plane in sorted(chosen):
        fits = len(plane) == len(frame.leading_shape)
        if not fits or any(not 0 <= i < n for i, n in zip(plane, frame.leading_shape, strict=True)):
            raise InputError(
                f"The plane {','.join(map(str, plane))} does not exist; there are {size} along the slicing "
                "axis, counted from 0."
            )
    if not chosen:
        raise InputError(
            f"No plane was chosen: there are {size} along the slicing axis, counted from 0; give at least "
            "one, or leave planes out for all."
        )
    return sorted(chosen)


def _same(source: PlaneSource) -> PlaneSource:
    return source
