"""Which part of a plane is worked on, and how that part grows when an object or a click leaves it.

Small planes are worked on as a whole, as published. A large one is worked on in an area whose grid stays
about as large as a screen, whatever the size of the plane: scale = level-0 pixels per grid pixel. Tops and
lefts of areas are multiples of their scale and scales only ever double, so that a grown area holds the old
probabilities exactly.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError
from napari_iseg.interactive.state import State, counts, to_grid
from napari_iseg.prompts import Box, Click, Window

CONTEXT = 1024  # sides up to this are worked on whole; also the context taken around a click, in grid pixels
MIN_SIDE = 200  # a view is widened to this: with less around the object a network sees no context


def check_inside(click: Click, shape: tuple[int, int]) -> None:
    """Raise InputError unless the click lies on a pixel of a plane of ``shape`` (rows, columns)."""
    if not Window.of_shape(shape).contains(click.row, click.col):
        # Bands on the last axis, not named as such, are taken for columns.
        bands = (
            " If its last axis are bands, say so with channel_axis=-1." if shape[1] <= 16 < shape[0] else ""
        )
        raise InputError(
            f"The click ({click.row:g}, {click.col:g}) lies outside the image of {shape[0]} x {shape[1]} "
            f"pixels; give row and column from (0, 0) to ({shape[0] - 1}, {shape[1] - 1}).{bands}"
        )


def check_box(box: Box, shape: tuple[int, int]) -> None:
    """Raise InputError unless the box holds some of a plane of ``shape`` (rows, columns)."""
    if box.row1 <= 0 or box.col1 <= 0 or box.row0 >= shape[0] or box.col0 >= shape[1]:
        corners = f"({box.row0:g}, {box.col0:g}, {box.row1:g}, {box.col1:g})"
        raise InputError(f"The box {corners} lies outside the image of {shape[0]} x {shape[1]} pixels.")


def first_area(
    shape: tuple[int, int], at: Click | Box, view: Window | None, context: int | None
) -> tuple[Window, int]:
    """Area and scale for the first prompt of an object.

    Parameters
    ----------
    shape : (rows, columns) of the plane
    at : Click or Box
        The first prompt, in level-0 pixels.
    view : Window or None
        What the viewer shows; only heeded where the plane is larger than ``context``.
    context : int or None
        Largest side worked on whole; None always takes the whole plane.
    """
    plane = Window.of_shape(shape)
    if context is None or max(shape) <= context:
        return plane, 1
    box = at if isinstance(at, Box) else Box(at.row - 0.5, at.col - 0.5, at.row + 0.5, at.col + 0.5)
    row, col = (box.row0 + box.row1) / 2, (box.col0 + box.col1) / 2
    needed = Window(*(int(np.floor(v + 0.5)) for v in (box.row0, box.col0, box.row1, box.col1)))
    area = _around(row, col, context, plane)
    if view is not None:
        shown = view.intersect(plane)
        if shown.height and shown.width:
            middle = ((shown.top + shown.bottom) / 2, (shown.left + shown.right) / 2)
            area = shown.union(_around(*middle, MIN_SIDE, plane))
    area = area.union(needed).intersect(plane)
    scale = max(1, -(-max(area.shape) // context))
    return _aligned(area, scale), scale


def grown(state: State, click: Click, shape: tuple[int, int], context: int | None, threshold: float) -> State:
    """The state with an area large enough for the next click; the same state where it is.

    The area grows to hold a window of ``context`` grid pixels around the click when the click lies outside
    the area, or near a border at which the mask is cut off. For a background click beyond it, the area does
    not become coarser, which would cost the object its details. Probabilities are kept; ``zoom`` is
    forgotten, as its rule looks anew, and so are other answers, which lie on the grid before.
    """
    if context is None or state.area == Window.of_shape(shape):
        return state
    if state.area.contains(click.row, click.col) and not _is_cut(state, click, shape, context, threshold):
        return state
    plane = Window.of_shape(shape)
    area = state.area.union(_around(click.row, click.col, context * state.scale, plane))
    scale = state.scale
    while max(area.shape) > 2 * context * scale:
        scale *= 2
    if scale > state.scale and not counts(click, state.area):
        return state
    area = _aligned(area, scale)
    if (area, scale) == (state.area, state.scale):
        return state
    carried = _carried(state, area, scale)
    thin = -1 if state.thin else 0  # where the area is new there is no answer before to average with
    new = replace(state, area=area, scale=scale, probability=carried, zoom=None)
    return replace(new, thin=thin, tried=None, begun=None)


def grid_shape(area: Window, scale: int) -> tuple[int, int]:
    """(rows, columns) of the grid of an area."""
    return -(-area.height // scale), -(-area.width // scale)


def _around(row: float, col: float, side: int, plane: Window) -> Window:
    """A square of ``side`` level-0 pixels around a position, shifted inside the plane or cut to it."""
    edges = []
    for centre, size in ((row, plane.bottom), (col, plane.right)):
        start = int(np.floor(centre + 0.5)) - side // 2
        start = max(0, min(start, size - side))
        edges.append((start, min(size, start + side)))
    return Window(edges[0][0], edges[1][0], edges[0][1], edges[1][1])


def _aligned(area: Window, scale: int) -> Window:
    return Window(area.top // scale * scale, area.left // scale * scale, area.bottom, area.right)


def _is_cut(state: State, click: Click, shape: tuple[int, int], context: int, threshold: float) -> bool:
    """Whether the mask reaches a border of the area that is not the plane's, with the click near it."""
    near = context / 4
    rows, cols = state.shape
    here = to_grid(click, state.area, state.scale)
    mask = state.probability > threshold
    borders = (
        (state.area.top > 0, here.row, mask[0]),
        (state.area.bottom < shape[0], rows - 1 - here.row, mask[-1]),
        (state.area.left > 0, here.col, mask[:, 0]),
        (state.area.right < shape[1], cols - 1 - here.col, mask[:, -1]),
    )
    return any(is_open and distance <= near and bool(edge.any()) for is_open, distance, edge in borders)


def _carried(state: State, area: Window, scale: int) -> npt.NDArray[np.float32]:
    """The state's probabilities on the grid of a larger area: copied, or averaged if its scale rose."""
    times = scale // state.scale
    rows, cols = grid_shape(area, scale)
    fine = np.zeros((rows * times, cols * times), np.float32)
    top = (state.area.top - area.top) // state.scale
    left = (state.area.left - area.left) // state.scale
    fine[top : top + state.shape[0], left : left + state.shape[1]] = state.probability
    if times == 1:
        return fine
    return np.asarray(fine.reshape(rows, times, cols, times).mean((1, 3)), np.float32)
