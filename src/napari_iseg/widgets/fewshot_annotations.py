"""What the user has annotated, as a run wants it: labels, accepted planes and clicks in one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError
from napari_iseg.fewshot.collect import Clicks
from napari_iseg.fewshot.frame import Frame, Plane
from napari_iseg.labels.checks import HIGHEST as HIGHEST_LABEL
from napari_iseg.prompts import Click, Window
from napari_iseg.widgets.fewshot_clicks import BACKGROUND
from napari_iseg.widgets.fewshot_results import RESULT
from napari_iseg.widgets.placement import PlaneAxes
from napari_iseg.widgets.scene import image_shape, to_data, to_world

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Labels, Points


class Overlay:
    """An array of labels with the accepted planes of a result put over it, where the array holds nothing.

    The user's layer is left alone: what was painted or committed there counts before what was accepted.

    Parameters
    ----------
    base : array of ``frame.shape``, or None for nothing
    result, accepted : an array of that shape, and the planes of it that count
    """

    def __init__(
        self, base: Any | None, frame: Frame, result: Any | None = None, accepted: Iterable[Plane] = ()
    ) -> None:
        self._base, self._frame = base, frame
        self._result, self._accepted = result, frozenset(accepted)
        self.shape, self.dtype = frame.shape, np.dtype(np.int64)

    def __getitem__(self, index: tuple[int | slice, ...]) -> npt.NDArray[np.int64]:
        """Values at integers and slices, one per axis; two slices for a window of a plane."""
        if self._base is not None:
            values = np.array(self._base[index], np.int64)
        else:
            sizes = [
                len(range(*part.indices(size)))
                for part, size in zip(index, self.shape, strict=True)
                if isinstance(part, slice)
            ]
            values = np.zeros(sizes, np.int64)
        frame = self._frame
        plane = tuple(index[axis] for axis in frame.leading)
        whole = all(not isinstance(part, slice) for part in plane)
        if whole and plane in self._accepted and self._result is not None:
            values = np.where(values == 0, np.asarray(self._result[index], np.int64), values)
        return values


def fitting(layers: Sequence[Any], image: Any) -> int:
    """The first of some labels layers with the image's shape; 0, where "none" stands, without one.

    Copies of results are left out: a prediction is no annotation without the user's word.
    """
    shape = image_shape(image) if image is not None else ()
    for index, layer in enumerate(layers):
        if layer is None or RESULT in layer.metadata:
            continue
        if tuple((layer.data[0] if layer.multiscale else layer.data).shape) == shape:
            return index
    return 0


@dataclass
class Annotations:
    """The layers that are annotated in.

    Attributes
    ----------
    labels : of the image's shape
    clicks : points, of which those that look like an "x" or a minus are on background
    """

    labels: Labels | None = None
    clicks: Points | None = None

    @property
    def name(self) -> str | None:
        """Of the labels layer, which a result is found by; None without one."""
        return None if self.labels is None else str(self.labels.name)

    def array(self, image: Image, frame: Frame) -> Any | None:
        """The painted labels; None without a layer of labels.

        Raises
        ------
        InputError
            When the labels layer has another shape than the image.
        """
        base = None
        if self.labels is not None:
            base = self.labels.data[0] if self.labels.multiscale else self.labels.data
            if tuple(base.shape) != frame.shape:
                raise InputError(
                    f"The layer {self.labels.name!r} has the shape {tuple(base.shape)} but {image.name!r} "
                    f"needs labels of {frame.shape}; choose another layer."
                )
        return base

    def attempt(self, image: Image, frame: Frame) -> Any | None:
        """The painted labels; None also where they have another shape, which is said at Run."""
        try:
            return self.array(image, frame)
        except InputError:
            return None

    def given_clicks(self, viewer: napari.Viewer, image: Image, frame: Frame) -> Clicks:
        """(label, click) by plane, in pixels of the image; clicks beside it are left out.

        Raises
        ------
        InputError
            When the feature "label" of a click is no label.
        """
        found: dict[Plane, list[tuple[int, Click]]] = {}
        if self.clicks is None:
            return {}
        axes = PlaneAxes(len(frame.shape), frame.rows, frame.cols)
        labels = self.clicks.features.get("label")
        whole = Window.of_shape(frame.plane_shape)
        for number, point in enumerate(self.clicks.data):
            place = to_data(viewer, image, to_world(viewer, self.clicks, point))
            plane, (row, col) = axes.split(place)
            inside = all(0 <= i < n for i, n in zip(plane, frame.leading_shape, strict=True))
            if inside and whole.contains(row, col):
                sign = str(self.clicks.symbol[number]) not in BACKGROUND
                label = self._label(labels.iloc[number]) if labels is not None else 1
                found.setdefault(plane, []).append((label, Click(row, col, sign)))
        return found

    def _label(self, value: Any) -> int:
        """A number of the table of features as a label."""
        try:
            label = int(value)
            if label == float(value) and 1 <= label <= HIGHEST_LABEL:
                return label
        except (TypeError, ValueError, OverflowError):
            pass
        assert self.clicks is not None
        raise InputError(
            f"The layer {self.clicks.name!r} has a click whose label is {value}; give it a whole number from "
            f"1 to {HIGHEST_LABEL} in its table of features."
        )
