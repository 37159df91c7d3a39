"""Few-shot episodes: some annotated windows of a series, and a window of it whose mask is asked for.

Two kinds: class ("all nuclei") and object ("this body through the slices"). Episode ``i`` follows from
(seed, i) alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from skimage.segmentation import felzenszwalb

from napari_iseg.errors import InputError
from napari_iseg.training.bank import Picture
from napari_iseg.training.episode_bank import EpisodeBank, Series

Mask = npt.NDArray[np.bool_]
_MIN_PIXELS = 30  # of the label in a support window
_LEAST_SIDE = 24.0  # pixels of a window that is made to fit an object


@dataclass(frozen=True)
class View:
    """A square window of a picture, resized to ``size`` and turned.

    Parameters
    ----------
    top, left, height, width : in the picture
    turns : quarter turns; mirror : left to right, after turning
    """

    top: int
    left: int
    height: int
    width: int
    size: int
    turns: int
    mirror: bool

    def image(self, source: Picture) -> npt.NDArray[np.uint8]:
        """(S, S, 3) uint8."""
        part = source.image[self.top : self.top + self.height, self.left : self.left + self.width]
        how = cv2.INTER_AREA if max(self.height, self.width) > self.size else cv2.INTER_LINEAR
        return self._turned(cv2.resize(part, (self.size, self.size), interpolation=how))

    def mask(self, whole: Mask) -> Mask:
        """(S, S) bool of a mask of the whole picture."""
        part = whole[self.top : self.top + self.height, self.left : self.left + self.width].astype(np.uint8)
        small = cv2.resize(part, (self.size, self.size), interpolation=cv2.INTER_NEAREST_EXACT)
        return self._turned(small).astype(bool)

    def shot(self, source: Picture, whole: Mask, position: float = 0.0) -> Shot:
        """The window of an image and of a mask of the whole picture."""
        zoom = self.size**2 / (self.height * self.width)
        return Shot(self.image(source), self.mask(whole), np.count_nonzero(whole) * zoom, position)

    def _turned(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        pixels = np.rot90(pixels, self.turns)
        return np.ascontiguousarray(pixels[:, ::-1] if self.mirror else pixels)


@dataclass(frozen=True)
class Shot:
    """One window: image (S, S, 3) uint8, mask (S, S) bool, place along the axis (0 without one).

    ``area`` is the label's in the whole picture, in pixels of the window.
    """

    image: npt.NDArray[np.uint8]
    mask: Mask
    area: float
    position: float = 0.0


@dataclass(frozen=True)
class Episode:
    """Supports and one query; ``same`` : all windows lie in one picture's light (one volume or scene).

    ``aligned``: windows lie at the same place of neighbouring slices, so masks may be interpolated.
    """

    supports: tuple[Shot, ...]
    query: Shot
    same: bool
    aligned: bool


def draw_episode(
    bank: EpisodeBank,
    size: int,
    supports: int,
    rng: np.random.Generator,
    *,
    superpixels: float = 0.1,
    empty: tuple[float, float] = (0.25, 0.1),
    close: float = 0.0,
) -> Episode:
    """A random episode with ``supports`` supports.

    Parameters
    ----------
    superpixels : share of episodes whose label is a superpixel (ALPNet's idea: no annotation needed)
    empty : share of queries without the label, of one volume or scene, and of different images
    close : share of episodes whose windows are made to fit an object

    Raises
    ------
    InputError
        When forty draws in a row held no label; the training labels are then unfit.
    """
    for attempt in range(40):
        if attempt == 20:  # a short volume has no room for several supports
            supports = 1
        series = bank.draw_series(rng)
        index = int(rng.integers(len(series.pictures)))
        fitting = bool(close) and rng.random() < close
        if rng.random() < superpixels:
            made = _pseudo(series.pictures[index], size, supports, rng)
        elif series.positions is not None:
            made = _volume(series, index, size, supports, rng, rng.random() < empty[0], fitting)
        else:
            made = _images(series, index, size, supports, rng, empty, fitting)
        if made is not None and all(np.count_nonzero(s.mask) >= _MIN_PIXELS for s in made.supports):
            return made
    raise InputError("Forty episodes in a row held no label; check the training labels.")


def view_around(
    source: Picture, centre: tuple[float, float], side: float, size: int, turns: int, mirror: bool
) -> View:
    """A window of about ``side`` pixels around ``centre``, shifted into the picture."""
    height, width = (min(extent, max(16, round(side))) for extent in source.labels.shape)
    top, left = (
        int(np.clip(round(c - span / 2), 0, extent - span))
        for c, span, extent in zip(centre, (height, width), source.labels.shape, strict=True)
    )
    return View(top, left, height, width, size, turns, mirror)


def _volume(
    series: Series,
    index: int,
    size: int,
    supports: int,
    rng: np.random.Generator,
    empty: bool,
    fitting: bool,
) -> Episode | None:
    """Slices of one volume, all seen through one window; a body, or a class where there is one."""
    assert series.positions is not None
    picture = series.pictures[index]
    classes = series.classes_of(index)
    if classes and (series.semantic or rng.random() < 0.5):
        label = classes[int(rng.integers(len(classes)))]
    else:
        label = int(picture.objects[rng.integers(len(picture.objects)), 0])
    places = series.positions
    has = np.array([_contains(series, i, label) for i in range(len(places))])
    gaps = np.abs(places - places[index])
    reach = float(np.exp(rng.uniform(0, np.log(max(2.0, gaps.max() / 2)))))
    near = np.flatnonzero(has & (gaps <= 2 * reach) & (gaps > 0))
    if len(near) < supports - 1:
        return None
    chosen = [index, *(int(i) for i in rng.choice(near, supports - 1, replace=False))]
    wanted = ~has if empty and (~has).any() else has
    free = np.array([i for i in np.flatnonzero(wanted) if i not in chosen])
    if not len(free):
        return None
    query = int(free[np.argmin(np.abs(np.abs(places[free] - places[index]) - reach))])
    fitted = _fitting_view(picture, label, size, rng) if fitting else None
    view = fitted or _random_view(picture, series.mask(index, label), size, rng)
    shots = [view.shot(series.pictures[i], series.mask(i, label), float(places[i])) for i in (*chosen, query)]
    return Episode(tuple(shots[:-1]), shots[-1], True, True)


def _images(
    series: Series,
    index: int,
    size: int,
    supports: int,
    rng: np.random.Generator,
    empty: tuple[float, float],
    fitting: bool,
) -> Episode | None:
    """Images of one class, or windows of one scene."""
    classes = series.classes_of(index)
    if not classes:
        return None
    label = classes[int(rng.integers(len(classes)))]
    scene = rng.random() < 0.3 or len(series.pictures) == 1
    pool = [index] if scene else [int(i) for i in series.lookalikes[index]]
    pool = [i for i in pool if _contains(series, i, label)] or [index]
    shots = []
    scale = float(np.exp(rng.uniform(np.log(0.6), np.log(2.2))))
    without = rng.random() < empty[0 if scene else 1]
    for number in range(supports + 1):
        last = number == supports
        where = index if number == 0 else pool[int(rng.integers(len(pool)))]
        picture, mask = series.pictures[where], series.mask(where, label)
        side = size * scale * float(np.exp(rng.uniform(-0.2, 0.2)))
        fitted = _fitting_view(picture, label, size, rng) if fitting else None
        view = fitted or _random_view(picture, mask, size, rng, side)
        if last and without:
            view = _empty_view(picture, mask, side, size, rng) or view
        shots.append(view.shot(picture, mask))
    return Episode(tuple(shots[:-1]), shots[-1], scene, False)


def _pseudo(source: Picture, size: int, supports: int, rng: np.random.Generator) -> Episode | None:
    """Superpixels of an unlabelled window; the query is a turned and rescaled copy of it."""
    extent = min(source.labels.shape)
    side = min(extent, size * float(np.exp(rng.uniform(np.log(0.7), np.log(2.0)))))
    centre = tuple(float(rng.uniform(0, n)) for n in source.labels.shape)
    outer = view_around(source, (centre[0], centre[1]), side, size, 0, False)
    image = outer.image(source)
    parts = felzenszwalb(image, scale=float(np.exp(rng.uniform(5, 7.5))), sigma=0.8, min_size=100)
    areas = np.bincount(parts.ravel())
    fit = np.flatnonzero((areas > 150) & (areas < 0.4 * parts.size))
    if not len(fit):
        return None
    mask = parts == int(rng.choice(fit))
    copy = Picture(image, mask.astype(np.int32), np.zeros((0, 6), np.int64))
    shots = [Shot(image, mask, float(np.count_nonzero(mask)))]
    for _ in range(supports):
        centre = tuple(float(v) for v in np.argwhere(mask)[rng.integers(np.count_nonzero(mask))])
        inner = size * float(rng.uniform(0.6, 1.0))
        view = view_around(
            copy, (centre[0], centre[1]), inner, size, int(rng.integers(4)), bool(rng.random() < 0.5)
        )
        shots.append(view.shot(copy, mask))
    return Episode(tuple(shots[:-1]), shots[-1], False, False)


def _random_view(
    source: Picture, mask: Mask, size: int, rng: np.random.Generator, side: float | None = None
) -> View:
    """A window with a random pixel of the mask in it, anywhere in the window."""
    if side is None:
        side = size * float(np.exp(rng.uniform(np.log(0.6), np.log(2.0))))
    rows, cols = np.nonzero(mask[::2, ::2]) if mask[::2, ::2].any() else np.nonzero(mask)
    factor = 2 if mask[::2, ::2].any() else 1
    pick = int(rng.integers(len(rows))) if len(rows) else 0
    row, col = (rows[pick] * factor, cols[pick] * factor) if len(rows) else (0, 0)
    shift = rng.uniform(-0.35, 0.35, 2) * side
    centre = float(row + shift[0]), float(col + shift[1])
    return view_around(source, centre, side, size, int(rng.integers(4)), bool(rng.random() < 0.5))


def _fitting_view(source: Picture, label: int, size: int, rng: np.random.Generator) -> View | None:
    """A window made to fit an object of the label (0: any), as a second look at it is; None without one."""
    rows = source.objects if label == 0 else source.objects[source.objects[:, 0] == label]
    if not len(rows):
        return None
    top, left, bottom, right = (float(v) for v in rows[rng.integers(len(rows)), 2:6])
    extent = max(bottom - top, right - left)
    side = max(_LEAST_SIDE, extent * float(np.exp(rng.uniform(np.log(1.2), np.log(4.0)))))
    room = max(0.0, side - extent) / 2
    shift = rng.uniform(-0.8, 0.8, 2) * room
    centre = (top + bottom) / 2 + float(shift[0]), (left + right) / 2 + float(shift[1])
    return view_around(source, centre, side, size, int(rng.integers(4)), bool(rng.random() < 0.5))


def _empty_view(source: Picture, mask: Mask, side: float, size: int, rng: np.random.Generator) -> View | None:
    """A window without the label, if a few tries find one."""
    for _ in range(8):
        centre = tuple(float(rng.uniform(0, n)) for n in mask.shape)
        view = view_around(
            source, (centre[0], centre[1]), side, size, int(rng.integers(4)), bool(rng.random() < 0.5)
        )
        if not view.mask(mask).any():
            return view
    return None


def _contains(series: Series, index: int, label: int) -> bool:
    objects = series.pictures[index].objects
    return len(objects) > 0 if label == 0 else bool((objects[:, 0] == label).any())
