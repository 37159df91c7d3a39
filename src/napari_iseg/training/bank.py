"""Pictures held in memory for training, and the square windows cut from them.

Sets differ a thousandfold in how many objects they have, so a set is drawn first, by weight, then a picture,
then an object.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from napari_iseg.errors import InputError
from napari_iseg.evaluation.methods import as_source
from napari_iseg.prompts import Window

UInt8 = npt.NDArray[np.uint8]
Int32 = npt.NDArray[np.int32]

_LARGE = 2**16  # labels up to here are kept: what is allocated by label is small, and float32 holds them
_LEAST_COARSE = 24.0  # pixels: side of the smallest window around an object made small


@dataclass(frozen=True)
class Picture:
    """One labelled picture.

    Parameters
    ----------
    image : (H, W, 3) uint8
    labels : (H, W) int32, 0 = background
    objects : (N, 6) int64 rows (id, area, top, left, bottom, right), half-open, in pixels
    """

    image: UInt8
    labels: Int32
    objects: npt.NDArray[np.int64]


def to_rgb8(image: npt.NDArray[np.generic], name: str = "") -> UInt8:
    """(H, W) or (H, W, C) of any real dtype -> (H, W, 3) uint8, as a network sees it when it answers.

    Raises
    ------
    InputError
        For complex numbers, which are no brightness.
    """
    if np.iscomplexobj(image):
        raise InputError(
            f"The training picture {name or 'given'} has complex numbers; save their magnitude as a "
            "real image."
        )
    height, width = image.shape[:2]
    values = as_source(image).read(Window.of_shape((height, width)))
    return np.asarray((values * np.float32(255)).round(), np.uint8)


def picture(
    image: npt.NDArray[np.generic],
    labels: npt.NDArray[np.integer],
    min_area: int = 40,
    name: str = "",
    *,
    keep_ids: bool = False,
) -> Picture | None:
    """A picture with its objects of at least ``min_area`` pixels; None when it has none.

    ``name`` is for refusals. ``keep_ids``: large labels, of int32 at most, stay, as they mean the same in
    other pictures; else they are numbered anew in their order, as only small ones are cut exactly.

    Raises
    ------
    InputError
        For labels below 0, or a picture of complex numbers.
    """
    least = labels.min(initial=0)
    if least < 0:
        raise InputError(
            f"The labels of the training picture {name or 'given'} hold the number {least}; save "
            "them with 0 as background and a number from 1 on for each object."
        )
    ids, numbered = _numbered(labels)
    areas = np.bincount(numbered.ravel())
    rows = [
        (index + 1, areas[index + 1], box[0].start, box[1].start, box[0].stop, box[1].stop)
        for index, box in enumerate(ndi.find_objects(numbered))
        if box is not None and areas[index + 1] >= min_area
    ]
    if not rows:
        return None
    objects = np.array(rows, np.int64)
    if keep_ids:
        objects[:, 0], numbered = ids[objects[:, 0]], np.ascontiguousarray(labels, np.int32)
    return Picture(to_rgb8(image, name), numbered, objects)


def _numbered(labels: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.integer], Int32]:
    """The label of each number, and labels as numbers: themselves, or their order where they are large."""
    if labels.max(initial=0) <= _LARGE:
        return np.arange(_LARGE + 1), np.ascontiguousarray(labels, np.int32)
    # 0 is among them, also where nothing is background.
    ids, numbers = np.unique(np.append(labels, labels.dtype.type(0)), return_inverse=True)
    return ids, numbers[:-1].reshape(labels.shape).astype(np.int32)


@dataclass
class Bank:
    """Named sets of pictures with sampling weights."""

    names: list[str] = field(default_factory=list)
    sets: list[list[Picture]] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    def add(self, name: str, pictures: Iterable[Picture | None], weight: float) -> None:
        """Add one set; pictures without objects are left out."""
        kept = [p for p in pictures if p is not None]
        if not kept:
            raise InputError(
                f"The training set {name!r} has no object of the minimum area; check its labels."
            )
        self.names.append(name)
        self.sets.append(kept)
        self.weights.append(weight)

    def draw(self, rng: np.random.Generator, crowds: float = 0.0) -> Picture:
        """A picture, its set chosen by weight.

        ``crowds``: a set's pictures are drawn by this power of their number of objects; 1 draws every
        object alike, 0 every picture.
        """
        share = np.array(self.weights)
        chosen = self.sets[rng.choice(len(self.sets), p=share / share.sum())]
        if not crowds:
            return chosen[rng.integers(len(chosen))]
        counts = np.array([len(p.objects) for p in chosen], np.float64) ** crowds
        return chosen[rng.choice(len(chosen), p=counts / counts.sum())]


@dataclass(frozen=True)
class Cut:
    """A window resized to the network's input.

    Parameters
    ----------
    image : (S, S, 3) uint8
    labels : (S, S) int32
    target : id of the drawn object
    full_area : area of the whole object, also outside the window, in pixels of the cut
    """

    image: UInt8
    labels: Int32
    target: int
    full_area: float


def cut(
    source: Picture,
    target: npt.NDArray[np.int64],
    centre: Sequence[float],
    side: float,
    size: int,
    rng: np.random.Generator,
    shrunk: float = 1.0,
) -> Cut:
    """Cut a window of about ``side`` pixels around ``centre``, shifted into the picture, resized, flipped
    and turned; before that it is made coarser by the factor ``shrunk`` of at most 1.
    """
    height, width = source.labels.shape
    # Sides vary a little on their own, as crops of the zoom-in rule do (it does not keep the aspect ratio).
    sides = [min(extent, max(12, round(side * rng.uniform(0.85, 1.18)))) for extent in (height, width)]
    angle = rng.uniform(-30, 30) if rng.random() < 0.25 else 0.0
    reach = 1.0 if angle == 0 else abs(np.cos(np.radians(angle))) + abs(np.sin(np.radians(angle)))
    spans = [min(extent, round(s * reach)) for extent, s in zip((height, width), sides, strict=True)]
    starts = [
        int(np.clip(round(c - span / 2), 0, extent - span))
        for c, span, extent in zip(centre, spans, (height, width), strict=True)
    ]
    view = np.s_[starts[0] : starts[0] + spans[0], starts[1] : starts[1] + spans[1]]
    outer = round(size * reach)
    image: npt.NDArray[Any] = source.image[view]
    labels: npt.NDArray[Any] = source.labels[view].astype(np.float32)
    if shrunk < 1:
        image, labels = _resized(image, labels, *(max(1, round(span * shrunk)) for span in spans))
    image, labels = _resized(image, labels, outer, outer)
    if angle:
        turn: npt.NDArray[Any] = cv2.getRotationMatrix2D((outer / 2 - 0.5, outer / 2 - 0.5), angle, 1.0)
        turn[:, 2] -= (outer - size) / 2
        image = cv2.warpAffine(
            image, turn, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
        labels = cv2.warpAffine(
            labels, turn, (size, size), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101
        )
    turns, mirror = int(rng.integers(4)), rng.random() < 0.5
    image, labels = np.rot90(image, turns), np.rot90(labels, turns)
    if mirror:
        image, labels = image[:, ::-1], labels[:, ::-1]
    scale = (outer / spans[0]) * (outer / spans[1])
    return Cut(
        np.ascontiguousarray(image),
        np.ascontiguousarray(labels).astype(np.int32),
        int(target[0]),
        float(target[1] * scale),
    )


def _resized(
    image: npt.NDArray[Any], labels: npt.NDArray[Any], height: int, width: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    shrink = max(image.shape[:2]) > max(height, width)
    return (
        cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR),
        # exact: the plain one takes the upper left pixel of each cell, half a cell beside the image's mean
        cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT),
    )


def coarser(source: Picture, factor: float) -> Picture | None:
    """A picture as a camera ``factor`` times coarser would have taken it; None where no object is left."""
    rows, cols = (max(1, round(extent / factor)) for extent in source.labels.shape)
    image, labels = _resized(source.image, source.labels.astype(np.float32), rows, cols)
    return picture(image, labels.astype(np.int32))


def point_inside(source: Picture, target: npt.NDArray[np.int64], rng: np.random.Generator) -> tuple[int, int]:
    """A uniformly drawn pixel of the object."""
    top, left, bottom, right = target[2:]
    rows, cols = np.nonzero(source.labels[top:bottom, left:right] == target[0])
    pick = rng.integers(len(rows))
    return int(rows[pick] + top), int(cols[pick] + left)


def draw_cut(
    source: Picture,
    size: int,
    rng: np.random.Generator,
    close: bool,
    extent_as: float | None = None,
    least: float = 0.12,
) -> Cut:
    """A random object in a random window.

    ``close``: the window lies around the object, as after a first mask. Otherwise it lies around a pixel of
    the object and has any scale, as when the first click is all that is known; the object may be far smaller
    or larger, from ``least`` of the window's side on. ``extent_as``: a larger object is made so many pixels
    across first, as a coarser camera would have seen it.
    """
    target = source.objects[rng.integers(len(source.objects))]
    top, left, bottom, right = (float(v) for v in target[2:])
    extent = max(bottom - top, right - left, 4.0)
    if close:
        side = extent / rng.uniform(0.4, 0.95)
        slack = max(0.0, side - extent) / 2 * 0.8
        centre = (
            (top + bottom) / 2 + rng.uniform(-slack, slack),
            (left + right) / 2 + rng.uniform(-slack, slack),
        )
    else:
        side = extent / np.exp(rng.uniform(np.log(least), np.log(1.8)))
        row, col = point_inside(source, target, rng)
        centre = (row + rng.normal(0, 0.05) * side, col + rng.normal(0, 0.05) * side)
    if extent_as is None or extent_as >= extent:
        return cut(source, target, centre, max(side, 16.0), size, rng)
    shrunk = extent_as / extent
    return cut(source, target, centre, max(side, _LEAST_COARSE / shrunk), size, rng, shrunk)
