"""Where layers lie: transforms of an image copied to the layers that belong to it, whole or in part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_iseg.prompts import Window

if TYPE_CHECKING:
    from napari.layers import Image, Layer


@dataclass(frozen=True)
class PlaneAxes:
    """Which two axes of an image are the plane that is clicked in; the others lead.

    Attributes
    ----------
    ndim : axes of the image, without its colour axis
    rows, cols : the plane's axes, rows < cols whatever the viewer transposes
    """

    ndim: int
    rows: int
    cols: int

    @property
    def leading(self) -> tuple[int, ...]:
        """The axes that are not in the plane, in the image's order."""
        return tuple(axis for axis in range(self.ndim) if axis not in (self.rows, self.cols))

    @property
    def is_natural(self) -> bool:
        """Whether the plane is the image's last two axes."""
        return (self.rows, self.cols) == (self.ndim - 2, self.ndim - 1)

    def split(self, point: Sequence[float]) -> tuple[tuple[int, ...], tuple[float, float]]:
        """A data position as (plane index, (row, col)); the plane is the nearest one."""
        plane = tuple(int(np.rint(point[axis])) for axis in self.leading)
        return plane, (float(point[self.rows]), float(point[self.cols]))

    def join(self, plane: Sequence[float], row: float, col: float) -> npt.NDArray[np.float64]:
        """The data position of (row, col) on ``plane``; the inverse of `split`."""
        point = np.empty(self.ndim)
        point[list(self.leading)] = plane
        point[self.rows], point[self.cols] = row, col
        return point

    def expand(self, patch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A (rows, cols) patch with axes of length 1 for the others, in the image's order."""
        return np.expand_dims(patch, self.leading)


PLACING = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")  # events of a layer


def put(layer: Layer, placed: Mapping[str, Any]) -> None:
    """Give a layer a transform, units and names of axes, touching only what differs: every change redraws."""
    for name in ("scale", "translate", "rotate", "shear"):
        if not np.array_equal(getattr(layer, name), placed[name]):
            setattr(layer, name, placed[name])
    if not np.array_equal(layer.affine.affine_matrix, placed["affine"]):
        layer.affine = placed["affine"]
    name_axes(layer, placed)


def name_axes(layer: Layer, placed: Mapping[str, Any]) -> None:
    """Give a layer units and names of axes."""
    for name in ("units", "axis_labels"):
        if tuple(getattr(layer, name)) != placed[name]:
            setattr(layer, name, placed[name])


@dataclass(frozen=True)
class Placement:
    """The transform, units and axis names of an image layer, ready to give to others."""

    scale: npt.NDArray[np.float64]
    translate: npt.NDArray[np.float64]
    rotate: npt.NDArray[np.float64]
    shear: npt.NDArray[np.float64]
    affine: npt.NDArray[np.float64]
    units: tuple[Any, ...]
    axis_labels: tuple[str, ...]

    @classmethod
    def of(cls, image: Image) -> Placement:
        """That of an image layer, as it is now."""
        return cls(
            np.asarray(image.scale, float),
            np.asarray(image.translate, float),
            np.asarray(image.rotate, float),
            np.asarray(image.shear, float),
            np.asarray(image.affine.affine_matrix, float),
            tuple(image.units),
            tuple(image.axis_labels),
        )

    def whole(self) -> dict[str, Any]:
        """Keywords of a layer that covers the image pixel by pixel."""
        return {
            "scale": self.scale,
            "translate": self.translate,
            "rotate": self.rotate,
            "shear": self.shear,
            "affine": self.affine,
            "units": self.units,
            "axis_labels": self.axis_labels,
        }

    def part(self, axes: PlaneAxes, plane: Sequence[int], window: Window, step: int) -> dict[str, Any]:
        """Keywords of a layer that covers ``window`` of one plane with pixels ``step`` times as large.

        napari maps data x to affine(R S diag(scale) x + translate). A patch pixel i covers ``step`` image
        pixels from corner + i * step on, so its centre lies at corner + i * step + (step - 1) / 2.
        """
        from napari.utils.transforms import Affine

        centre = (step - 1) / 2
        origin = axes.join(plane, window.top + centre, window.left + centre)
        inner = Affine(scale=self.scale, translate=self.translate, rotate=self.rotate, shear=self.shear)
        scale = self.scale.copy()
        scale[[axes.rows, axes.cols]] *= step
        return {**self.whole(), "scale": scale, "translate": np.asarray(inner(origin))}
