"""What a prediction starts from and leaves behind: one immutable value, so undo is "the state before"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from napari_iseg.prompts import Box, Click, Window


class Tried(NamedTuple):
    """K windows looked at, the probability in each, of its shape, and ``ClickNet.scored`` of each, (K,)."""

    windows: Sequence[Window]
    answers: Sequence[npt.NDArray[np.float32]]
    scores: npt.NDArray[np.float32]

    def same(self, other: Tried) -> bool:
        """Whether windows, answers and scores are the same."""
        return (
            list(self.windows) == list(other.windows)
            and all(map(np.array_equal, self.answers, other.answers))
            and np.array_equal(self.scores, other.scores)
        )


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
    box : Box or None
        The object's box, in level-0 pixels of the plane.
    memory : (1, 1, L, L) float32 or None
        What a network of the kind of SAM answered in ``zoom`` before it was made fine, to be fed back; made
        read-only here.
    thin : int
        How many answers in a row, the newest among them, are the rule's for thin structures
        (`interactive.thin`); -1: so it was, before the area grew.
    tried : Tried or None
        Other answers to the first click, on the area grid, for a second one that refutes what was chosen.
    begun : (h, w) float32 or None
        While the newest answers are those of the network for small objects (`interactive.small`): the click
        network's last one, which is the probability of an earlier state.
    """

    area: Window
    scale: int
    probability: npt.NDArray[np.float32]
    zoom: Window | None = None
    clicks: tuple[Click, ...] = ()
    box: Box | None = None
    memory: npt.NDArray[np.float32] | None = None
    thin: int = 0
    tried: Tried | None = None
    begun: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        self.probability.setflags(write=False)
        if self.memory is not None:
            self.memory.setflags(write=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, State):
            return NotImplemented
        if self._small != other._small:
            return False
        if not np.array_equal(self.probability, other.probability):
            return False
        if self.tried is not None and not self.tried.same(other.tried):  # type: ignore[arg-type]
            return False
        pairs = (self.memory, other.memory), (self.begun, other.begun)
        return all(own is None or np.array_equal(own, its) for own, its in pairs)  # type: ignore[arg-type]

    @property
    def _small(self) -> tuple[object, ...]:
        plain = self.area, self.scale, self.zoom, self.clicks, self.box, self.thin
        return (*plain, self.memory is None, self.tried is None, self.begun is None)

    __hash__ = None  # type: ignore[assignment]

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the area grid."""
        return self.probability.shape[0], self.probability.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes that the state holds."""
        held = [array for array in (self.probability, self.memory, self.begun) if array is not None]
        return sum(array.nbytes for array in [*held, *(self.tried.answers if self.tried else ())])

    @property
    def grid_box(self) -> Box | None:
        """The box in area-grid pixels (possibly partly outside)."""
        if self.box is None:
            return None
        top, left, scale = self.area.top, self.area.left, self.scale
        rows, cols = (self.box.row0 - top, self.box.row1 - top), (self.box.col0 - left, self.box.col1 - left)
        return Box(rows[0] / scale, cols[0] / scale, rows[1] / scale, cols[1] / scale)

    @property
    def grid_clicks(self) -> tuple[Click, ...]:
        """The clicks that count (`counts`) in area-grid pixels (pixel centres at integers; fractional)."""
        heard = (click for click in self.clicks if counts(click, self.area))
        return tuple(to_grid(click, self.area, self.scale) for click in heard)


def counts(click: Click, area: Window) -> bool:
    """Whether a click says something about an area: all do but background clicks beyond it.

    There the answer is background already.
    """
    # A click on the outer half of the area's last pixels is theirs, too.
    near = Window(area.top - 1, area.left - 1, area.bottom + 1, area.right + 1)
    return click.positive or near.contains(click.row, click.col)


def to_grid(click: Click, area: Window, scale: int) -> Click:
    """A click of the plane in pixels of the grid of ``area`` at ``scale``.

    A grid pixel covers ``scale`` level-0 pixels and its centre is the centre of these.
    """
    if scale == 1:
        return Click(click.row - area.top, click.col - area.left, click.positive)
    row = (click.row - area.top + 0.5) / scale - 0.5
    return Click(row, (click.col - area.left + 0.5) / scale - 0.5, click.positive)
