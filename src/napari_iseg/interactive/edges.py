"""Edges: the mask of an object made exact by a refinement network, window by window, at full resolution.

An object that fits into the network's window is looked at as a whole: small ones are enlarged, so that a hair
of one pixel is several pixels wide for the network. The window grows where the refined object leaves it. A
larger object is looked at twice: as a whole, reduced, to learn where its outline runs, then in overlapping
tiles at full resolution along that outline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_iseg.errors import CancelledError, InputError
from napari_iseg.interactive.job import never
from napari_iseg.labels.regions import Region, part_of, tight, tiles_of
from napari_iseg.prompts import Box, Window

MARGIN: Final = 0.15  # context around the object, as a share of its side
MIN_SIDE: Final = 96  # a window is at least so large: enlarging more shows nothing new
MAX_ASPECT: Final = 2.0  # windows are squeezed into a square; more would thin structures of one direction
OVERLAP: Final = 0.25  # of two neighbouring tiles
MIN_AGREEMENT: Final = 0.1  # a refined mask of less IoU with the coarse one is another object
GROWTHS: Final = 2  # how often the window grows after a part that leaves it
_FALLBACK: Final = 1e-3  # weight of the coarse mask beside that of a tile, which is 1 in its middle


class Refiner(Protocol):
    """What is needed of a refinement model, see `napari_iseg.backends.edge_model.EdgeModel`."""

    @property
    def size(self) -> int:
        """Side of the network's square window in pixels."""

    @property
    def threshold(self) -> float:
        """A pixel is object where the probability is larger."""

    def probability(
        self, image: NDArray[np.float32], mask: NDArray[Any], box: Box | None = None
    ) -> NDArray[np.float32]:
        """Image (H, W, 3), mask (H, W) and box -> probability (H, W)."""


@dataclass(frozen=True)
class PlaneView:
    """What refining reads of a plane.

    Attributes
    ----------
    plane
        The whole plane.
    extent
        The smallest window around the coarse mask.
    image
        (window, scale) -> (ceil(h / scale), ceil(w / scale), 3) float32, RGB in [0, 1].
    mask
        window -> (h, w) bool, the coarse mask.
    valid
        window -> (h, w) bool, where there are values, or None where everywhere: the object has no others.
    """

    plane: Window
    extent: Window
    image: Callable[[Window, int], NDArray[np.float32]]
    mask: Callable[[Window], NDArray[np.bool_]]
    valid: Callable[[Window], NDArray[np.bool_] | None] = lambda _window: None

    def kept(self, window: Window, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Of a refined mask what is ``valid``."""
        valid = self.valid(window)
        return mask if valid is None else mask & valid


def refine_edges(
    image: NDArray[np.float32], mask: NDArray[Any], model: Refiner, box: Box | None = None
) -> NDArray[np.bool_]:
    """The mask of one object made exact.

    Parameters
    ----------
    image : (H, W, 3) float32
        RGB in [0, 1].
    mask : (H, W) bool, int or float
        The coarse mask; as numbers 0/1 or 0/255.
    model
        A refinement model.
    box
        Where the object lies, if it was drawn; None: the box around the mask.

    Returns
    -------
    (H, W) bool

    Raises
    ------
    InputError
        For arrays that do not fit together, an empty mask, or a refinement that lost the object.
    """
    if mask.ndim != 2 or image.shape != (*mask.shape, 3):
        raise InputError(f"The image must be (H, W, 3) like the mask {mask.shape}, got {image.shape}.")
    coarse = mask if mask.dtype == bool else mask > (0.5 if mask.max(initial=0) <= 1 else 127)
    plane = Window.of_shape((mask.shape[0], mask.shape[1]))
    extent = tight(plane, coarse)
    if extent is None:
        raise InputError("The mask is empty, so there is nothing to refine; click on the object first.")
    view = PlaneView(
        plane, extent, lambda window, scale: _reduced(image[window.slices], scale), lambda w: coarse[w.slices]
    )
    refined = np.zeros(mask.shape, np.bool_)
    for window, part in refined_region(view, model, box).masks():
        refined[window.slices] = part
    return refined


def refined_region(
    view: PlaneView, model: Refiner, box: Box | None = None, cancelled: Callable[[], bool] = never
) -> Region:
    """The pixels of the refined object; see `refine_edges`.

    Never holds more than a band of tiles, whatever the size of the object.

    Raises
    ------
    InputError
        The refined mask has next to nothing in common with the coarse one.
    CancelledError
        ``cancelled()`` turned true; it is asked before every pass of the network.
    """
    asked = _asked(cancelled)
    extent = view.extent if box is None else view.extent.union(_window_of(box)).intersect(view.plane)
    frame = _frame(extent, view.plane)
    seen, scale = _overview(view, model, frame, box, asked)
    for _ in range(GROWTHS):
        beyond = _beyond(seen, frame, view.plane)
        if beyond is None:
            break
        frame = _frame(extent.union(beyond), view.plane).union(frame)
        seen, scale = _overview(view, model, frame, box, asked)
    if scale == 1:
        region = Region.pack((tile, view.kept(tile, seen[part_of(tile, frame)])) for tile in tiles_of(frame))
    else:
        drawn = box or Box(view.extent.top, view.extent.left, view.extent.bottom, view.extent.right)
        region = Region.pack(_bands(view, model, frame, drawn, seen, scale, asked))
    _check_kept(view, region)
    return region


def _bands(
    view: PlaneView,
    model: Refiner,
    frame: Window,
    box: Box,
    outline: NDArray[np.bool_],
    scale: int,
    asked: Callable[[], None],
) -> Iterator[tuple[Window, NDArray[np.bool_]]]:
    """The refined mask of a large object, band by band from top to bottom; ``outline`` is its overview."""
    tops, lefts = (_starts(*span, model.size) for span in _spans(frame))
    height, width = min(model.size, frame.height), min(model.size, frame.width)
    sums = np.zeros((2, height, frame.width), np.float32)  # of weight x probability, and of weights
    for index, top in enumerate(tops):
        for left in lefts:
            tile = Window(top, left, top + height, left + width)
            coarse = view.mask(tile)
            inside = _shifted(box, tile, 1)
            if _is_settled(coarse, outline[_on_grid(tile, frame, scale)]):
                continue
            if inside is None and not coarse.any():
                continue  # beyond the box, and nothing there: the network has no prompt
            asked()
            found = model.probability(view.image(tile, 1), coarse, inside)
            down = _hill(height, top == frame.top, top + height == frame.bottom)
            weight = down[:, None] * _hill(width, left == frame.left, left + width == frame.right)[None]
            columns = slice(left - frame.left, left - frame.left + width)
            sums[0, :, columns] += weight * found
            sums[1, :, columns] += weight
        bottom = tops[index + 1] if index + 1 < len(tops) else frame.bottom
        band = Window(top, frame.left, bottom, frame.right)
        done = sums[:, : band.height]
        likely = (done[0] + _FALLBACK * view.mask(band)) / (done[1] + _FALLBACK)
        yield band, view.kept(band, np.asarray(likely > model.threshold))
        sums[:, : height - band.height] = sums[:, band.height :].copy()
        sums[:, height - band.height :] = 0


def _overview(
    view: PlaneView, model: Refiner, frame: Window, box: Box | None, asked: Callable[[], None]
) -> tuple[NDArray[np.bool_], int]:
    """The object as the network sees it as a whole: a mask of the frame, reduced by a scale, and that scale.

    Without a drawn box the network's own rule draws it from the mask.
    """
    scale = -(-max(frame.shape) // model.size)
    coarse: NDArray[Any] = view.mask(frame) if scale == 1 else _share(view, frame, scale)
    asked()
    inside = None if box is None else _shifted(box, frame, scale)
    found = model.probability(view.image(frame, scale), coarse, inside)
    return np.asarray(found > model.threshold), scale


def _share(view: PlaneView, frame: Window, scale: int) -> NDArray[np.float32]:
    """How much of each reduced pixel the coarse mask covers, read piece by piece."""
    grid = np.zeros((-(-frame.height // scale), -(-frame.width // scale)), np.float32)
    side = scale * max(1, 1024 // scale)
    for top in range(frame.top, frame.bottom, side):
        for left in range(frame.left, frame.right, side):
            tile = Window(top, left, top + side, left + side).intersect(frame)
            part = _reduced(view.mask(tile)[..., None].astype(np.float32), scale)[..., 0]
            row, col = (top - frame.top) // scale, (left - frame.left) // scale
            grid[row : row + part.shape[0], col : col + part.shape[1]] = part
    return grid


def _beyond(seen: NDArray[np.bool_], frame: Window, plane: Window) -> Window | None:
    """A frame half as large again on each side where the object as seen leaves it; None where it does not."""
    up, left = frame.height // 2, frame.width // 2
    larger = Window(
        frame.top - up * bool(seen[0].any()),
        frame.left - left * bool(seen[:, 0].any()),
        frame.bottom + up * bool(seen[-1].any()),
        frame.right + left * bool(seen[:, -1].any()),
    ).intersect(plane)
    return None if larger == frame else larger


def _check_kept(view: PlaneView, region: Region) -> None:
    """Refuse a result that has nothing to do with the object: silence would replace it by something else."""
    before = sum(int(np.count_nonzero(view.mask(tile))) for tile in tiles_of(view.extent))
    after, both = region.pixels, 0
    for window, mask in region.masks():
        common = window.intersect(view.extent)
        if common.height and common.width:
            both += int(np.count_nonzero(view.mask(common) & mask[part_of(common, window)]))
    if both < MIN_AGREEMENT * (before + after - both):
        raise InputError(
            "Refining the edges lost the object, so its mask was left as it is; correct it with clicks "
            "first, or use another refinement model."
        )


def _frame(extent: Window, plane: Window) -> Window:
    """The object with its context, not too small and not too narrow, inside the plane."""
    sides = [max(MIN_SIDE, round(side * (1 + 2 * MARGIN)) + 4) for side in extent.shape]
    sides = [max(side, round(max(sides) / MAX_ASPECT)) for side in sides]
    spans = ((extent.top, extent.bottom, plane.bottom), (extent.left, extent.right, plane.right))
    edges = []
    for (low, high, end), side in zip(spans, sides, strict=True):
        side = min(side, end)
        start = min(max(0, (low + high - side) // 2), end - side)
        edges.append((start, start + side))
    return Window(edges[0][0], edges[1][0], edges[0][1], edges[1][1])


def _spans(frame: Window) -> tuple[tuple[int, int], tuple[int, int]]:
    return (frame.top, frame.bottom), (frame.left, frame.right)


def _starts(low: int, high: int, size: int) -> list[int]:
    """Where tiles of ``size`` begin so that they cover low..high and overlap evenly."""
    if high - low <= size:
        return [low]
    count = 1 + int(np.ceil((high - low - size) / (size * (1 - OVERLAP))))
    return [round(value) for value in np.linspace(low, high - size, count)]


def _hill(length: int, is_first: bool, is_last: bool) -> NDArray[np.float32]:
    """Weights across a tile: 1 in the middle, falling to almost 0 over the overlaps with other tiles."""
    edge = max(1, round(length * OVERLAP))
    away = np.arange(length) + 0.5
    none = np.full(length, float(length))
    distance = np.minimum(none if is_first else away, none if is_last else length - away)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.clip(distance / edge, 0, 1)), np.float32)


def _is_settled(coarse: NDArray[np.bool_], seen: NDArray[np.bool_]) -> bool:
    """Whether a tile lies wholly inside or wholly outside the object, by the mask and by the overview.

    Where the two disagree (a net that the mask fills and the reduced view blurs away) it must be looked at.
    """
    return bool(coarse.all() and seen.all()) or not bool(coarse.any() or seen.any())


def _on_grid(window: Window, frame: Window, scale: int) -> tuple[slice, slice]:
    """The pixels of the reduced frame that meet a window."""
    return (
        slice((window.top - frame.top) // scale, -(-(window.bottom - frame.top) // scale)),
        slice((window.left - frame.left) // scale, -(-(window.right - frame.left) // scale)),
    )


def _shifted(box: Box, window: Window, scale: int) -> Box | None:
    """The part of a box inside a window, in the window's reduced pixels; None where they do not meet."""
    rows = max(box.row0, window.top), min(box.row1, window.bottom)
    cols = max(box.col0, window.left), min(box.col1, window.right)
    if rows[0] >= rows[1] or cols[0] >= cols[1]:
        return None
    corners: Sequence[float] = (rows[0] - window.top, cols[0] - window.left)
    corners = (*corners, rows[1] - window.top, cols[1] - window.left)
    return Box(*(value / scale for value in corners))


def _window_of(box: Box) -> Window:
    return Window(int(box.row0), int(box.col0), int(np.ceil(box.row1)), int(np.ceil(box.col1)))


def _reduced(array: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    """Means of ``scale`` x ``scale`` pixels of (h, w, C); smaller at the lower and right border."""
    if scale == 1:
        return array
    rows, cols = -(-array.shape[0] // scale), -(-array.shape[1] // scale)
    filled = np.pad(
        array, ((0, rows * scale - array.shape[0]), (0, cols * scale - array.shape[1]), (0, 0)), mode="edge"
    )
    return np.asarray(filled.reshape(rows, scale, cols, scale, -1).mean((1, 3)), np.float32)


def _asked(cancelled: Callable[[], bool]) -> Callable[[], None]:
    def check() -> None:
        if cancelled():
            raise CancelledError("Refining the edges was stopped.")

    return check
