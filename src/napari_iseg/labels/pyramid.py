"""Levels of a label pyramid: every 2^k-th pixel of the plane, so labels stay labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from napari_iseg.prompts import Window

COARSEST = 512  # levels are added until both sides of the plane are at most this many pixels


def level_shapes(rows: int, cols: int) -> list[tuple[int, int]]:
    """(rows, cols) of every level; level 0 first."""
    shapes = [(rows, cols)]
    while max(shapes[-1]) > COARSEST:
        shapes.append(((shapes[-1][0] + 1) // 2, (shapes[-1][1] + 1) // 2))
    return shapes


def level_parts(
    window: Window, values: NDArray[Any], levels: int
) -> Iterator[tuple[int, Window, NDArray[Any]]]:
    """What a change of level 0 means for the coarser levels.

    Parameters
    ----------
    window : Window
        The changed window, level-0 pixels.
    values : (rows, cols)
        The new values of ``window``.
    levels : int
        Number of levels, level 0 included.

    Yields
    ------
    (level, window in pixels of that level, values), for levels 1 on; parts without a sampled pixel are left
    out.
    """
    for level in range(1, levels):
        step = 2**level
        part = Window(
            -(-window.top // step),
            -(-window.left // step),
            -(-window.bottom // step),
            -(-window.right // step),
        )
        if part.height and part.width:
            yield (
                level,
                part,
                values[part.top * step - window.top :: step, part.left * step - window.left :: step],
            )
