"""What a prediction starts from and leaves behind: one immutable value, so undo is "the state before"."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_iseg.prompts import Click, Window


@dataclass(frozen=True, eq=False)
class State:
    """Everything the next prediction of an object depends on.

    Attributes
    ----------
    area : Window
        The part of the plane that is worked on, in pixels of level 0.
    scale : int
        Level-0 pixels per pixel of the area grid.
    probability : (ceil(area.height / scale), ceil(area.width / scale)) float32
        Probability of the object on the area grid; made read-only here. Outside the area it is zero.
    zoom : Window or None
        Present window of the network in area-grid pixels; None before the first pass and after the area has
        grown.
    clicks : tuple of Click
        All clicks so far, in the order given, in level-0 pixels of the plane.
    """

    area: Window
    scale: int
    probability: npt.NDArray[np.float32]
    zoom: Window | None = None
    clicks: tuple[Click, ...] = ()

    def __post_init__(self) -> None:
        self.probability.setflags(write=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, State):
            return NotImplemented
        return (self.area, self.scale, self.zoom, self.clicks) == (
            other.area,
            other.scale,
            other.zoom,
            other.clicks,
        ) and np.array_equal(self.probability, other.probability)

    __hash__ = None  # type: ignore[assignment]

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the area grid."""
        return self.probability.shape[0], self.probability.shape[1]

    @property
    def grid_clicks(self) -> tuple[Click, ...]:
        """The clicks in area-grid pixels (pixel centres at integers; fractional, and possibly outside)."""
        return tuple(to_grid(click, self.area, self.scale) for click in self.clicks)


def to_grid(click: Click, area: Window, scale: int) -> Click:
    """A click of the plane in pixels of the grid of ``area`` at ``scale``.

    A grid pixel covers ``scale`` level-0 pixels and its centre is the centre of these.
    """
    if scale == 1:
        return Click(click.row - area.top, click.col - area.left, click.positive)
    row = (click.row - area.top + 0.5) / scale - 0.5
    return Click(row, (click.col - area.left + 0.5) / scale - 0.5, click.positive)
