"""The published rule for the network's window (zoom-in), and what any such rule may say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from napari_iseg.interactive.state import State
from napari_iseg.prompts import Click, Window


class Look(NamedTuple):
    """How windows are shown: resized to ``size`` (rows, cols), averaged with mirror images if ``flip``."""

    size: tuple[int, int]
    flip: bool


class WindowRule:
    """Where the network looks, and what becomes of its answer.

    A rule says its ``windows``; unless it says more, one window is looked at as usual and believed.
    """

    def windows(self, state: State) -> Sequence[Window]:
        """Windows to try for the next pass, in area-grid pixels, each at least 1 x 1 and inside the grid.

        ``state`` holds the newest click and the probability and window of the pass before. Several windows
        run in one batch and are mixed by their ``weights``.
        """
        raise NotImplementedError

    def spare(
        self, state: State, answer: npt.NDArray[np.float32], windows: Sequence[Window]
    ) -> Sequence[int]:
        """Which of several ``windows`` to keep what was found in, as ``State.tried``; ``answer`` is known."""
        del state, answer, windows
        return ()

    def rethought(self, state: State) -> State:
        """What to go on from instead of ``state``, whose clicks stay, now that there is a newer click."""
        return state

    def look(self, state: State, window: Window, usual: Look) -> Look:
        """How the network is shown the windows, the first of them ``window``."""
        del state, window
        return usual

    def weights(
        self, state: State, answers: npt.NDArray[np.float32], scores: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """How much each of several windows counts, (K,) float32, at least one above zero.

        ``answers`` are the probabilities (K, H, W) at the network's size, ``scores`` (K,) are
        ``ClickNet.scored``.
        """
        del state, answers
        return np.ones_like(scores)

    def again(self, state: State, answer: npt.NDArray[np.float32]) -> Sequence[Window]:
        """Windows to look at once more before the pass is over, now that its ``answer`` is known; or none.

        They are shown as is usual, with the same mask before, and their answers count one each.
        """
        del state, answer
        return ()

    def merge(self, state: State, answer: npt.NDArray[np.float32], window: Window) -> npt.NDArray[np.float32]:
        """The new probability on the area grid, from ``state.probability`` (the one before) and the answer.

        ``answer`` is the answer for ``window``, zero outside of it, float32 of ``state.shape``; it is taken
        as it is, as published.
        """
        del state, window
        return answer


@dataclass(frozen=True)
class ZoomIn(WindowRule):
    """The zoom-in rule of the RITM family, as CFR-ICL evaluates with it.

    The crop is the box of the mask and of the positive clicks, expanded; it is kept while the object stays
    in it. In the published form crops are inclusive (rmin, rmax, cmin, cmax); here they are half-open
    windows.
    """

    expand: float = 1.4
    min_side: int = 200
    keep_iou: float = 0.5
    threshold: float = 0.5

    def windows(self, state: State) -> Sequence[Window]:
        """The present crop, or the candidate where the object has left it."""
        candidate = self.candidate(state)
        present = state.zoom
        if (
            present is None
            or _leaves(state.grid_clicks, present)
            or overlap(candidate, present) < self.keep_iou
        ):
            return (candidate,)
        return (present,)

    def candidate(self, state: State) -> Window:
        """The crop that the present mask asks for: the whole grid as long as there is no mask."""
        mask = state.probability > self.threshold
        if not mask.any():
            return Window.of_shape(state.shape)
        rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        spans = [[int(rows[0]), int(rows[-1])], [int(cols[0]), int(cols[-1])]]
        for click in state.grid_clicks:
            if click.positive:
                for span, at, size in zip(spans, (click.row, click.col), state.shape, strict=True):
                    pixel = min(max(int(np.floor(at + 0.5)), 0), size - 1)
                    span[:] = [min(span[0], pixel), max(span[1], pixel)]
        (top, bottom), (left, right) = (
            self._expanded(low, high, size) for (low, high), size in zip(spans, state.shape, strict=True)
        )
        return Window(top, left, bottom, right)

    def _expanded(self, low: int, high: int, size: int) -> tuple[int, int]:
        """An inclusive interval, expanded about its centre and clamped to the grid, as a half-open one."""
        centre = 0.5 * (low + high)
        side = max(self.expand * (high - low + 1), self.min_side)
        # Python's round (half to even) and the inclusive upper edge are the published ones.
        return max(0, round(centre - 0.5 * side)), min(size - 1, round(centre + 0.5 * side)) + 1


@dataclass(frozen=True)
class WholeArea(WindowRule):
    """Always the whole area, as SAM sees its pictures: one embedding serves all objects of an area."""

    def windows(self, state: State) -> Sequence[Window]:
        """The area's grid."""
        return (Window.of_shape(state.shape),)


def overlap(one: Window, other: Window) -> float:
    """Product of the IoU of the row intervals and the IoU of the column intervals."""
    common, both = one.intersect(other), one.union(other)
    return (common.height / max(both.height, 1)) * (common.width / max(both.width, 1))


def _leaves(clicks: Sequence[Click], crop: Window) -> bool:
    """Whether a positive click lies outside the crop; its last row and column are outside, as published."""
    return any(
        click.positive
        and not (crop.top <= click.row < crop.bottom - 1 and crop.left <= click.col < crop.right - 1)
        for click in clicks
    )
