"""What is asked of an image: a window of a plane at a scale, or why there is none such."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import NamedTuple, SupportsIndex

from napari_iseg.errors import InputError
from napari_iseg.images.pyramid import Pyramid
from napari_iseg.prompts import Edges, Window, as_window


class Asked(NamedTuple):
    """A window in level-0 pixels, a plane, level-0 pixels per pixel of the answer, and the level for that."""

    window: Window
    plane: tuple[int, ...]
    scale: int
    level: int


def asked_of(
    pyramid: Pyramid, window: Window | Edges, plane: Sequence[int] | int = (), scale: int = 1
) -> Asked:
    """The question as plain numbers.

    Raises
    ------
    InputError
        If window, plane or scale do not fit the image, or are not whole numbers.
    """
    shape, leading = pyramid.shape(0), pyramid.leading_shape
    window = as_window(window)
    leaves = window.union(Window.of_shape(shape)).shape != shape
    if window.height < 1 or window.width < 1 or leaves:
        size = f"{shape[0]} x {shape[1]}"
        raise InputError(f"The window {window} does not lie inside the image of {size} pixels.")
    index = _whole_numbers(plane if isinstance(plane, Iterable) else (plane,))
    if len(index) != len(leading) or not all(0 <= i < n for i, n in zip(index, leading, strict=True)):
        raise InputError(f"The plane {plane} is not one of the image's {leading} planes.")
    step = (*_whole_numbers((scale,)), 0)[0]
    if step < 1:
        raise InputError(f"The scale must be at least 1 pixel per pixel, got {scale}.")
    return Asked(window, index, step, pyramid.level_for(step))


def _whole_numbers(values: Iterable[SupportsIndex]) -> tuple[int, ...]:
    """Values as Python's integers; those that are none are left out, so that their number is wrong."""
    return tuple(operator.index(value) for value in values if hasattr(value, "__index__"))
