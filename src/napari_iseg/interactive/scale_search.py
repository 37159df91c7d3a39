"""Our window rule for small networks: find the object's scale at the first click, then look closely.

At the first click nothing says how large the object is. The published rule shows the network the whole image;
a small
network trained on little data then sees a nucleus as three pixels. Here squares of several sides around the
click are tried in
one batch, and the network's own estimate of its IoU chooses. From then on the window follows the object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from napari_iseg.interactive.state import State
from napari_iseg.interactive.zoom import overlap
from napari_iseg.prompts import Click, Window

_WHOLE = 1.6  # a square this much larger than the image's shorter side becomes the whole image


@dataclass(frozen=True)
class ScaleSearch:
    """Several squares for the first click, afterwards a window around mask and clicks.

    Parameters
    ----------
    sides : squares tried for the first click, in area-grid pixels
    expand : window side by object side afterwards
    min_side : smallest window side afterwards
    keep_iou : the present window is kept while it overlaps the wanted one so far
    threshold : of the mask
    widen : after the first click, wider windows whose answers are averaged with the window's own
    local_from : from this click on only changes connected to the new click are taken over; 0 = never
    """

    sides: tuple[int, ...]
    expand: float
    min_side: int
    keep_iou: float
    threshold: float
    widen: tuple[float, ...] = ()
    local_from: int = 0

    def windows(self, state: State) -> Sequence[Window]:
        """Squares of all sides for the first pass, later one window."""
        if self._first(state):
            return self.search(state)
        wanted = self.wanted(state)
        if state.zoom is None:  # the area has grown
            return self._nested(wanted or Window.of_shape(state.shape), state.shape)
        if wanted is None or (
            _holds(state.zoom, state.grid_clicks) and overlap(wanted, state.zoom) >= self.keep_iou
        ):
            return self._nested(state.zoom, state.shape)
        return self._nested(wanted, state.shape)

    def _nested(self, window: Window, shape: tuple[int, int]) -> tuple[Window, ...]:
        """The window and wider ones around it, whose answers are averaged."""
        row, col = (window.top + window.bottom - 1) / 2, (window.left + window.right - 1) / 2
        found = [window]
        for factor in self.widen:
            sides = (round(window.height * factor), round(window.width * factor))
            wider = _around(row, col, sides, shape)
            if wider not in found:
                found.append(wider)
        return tuple(found)

    def weights(
        self, state: State, answers: npt.NDArray[np.float32], scores: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """One scale at the first click: the one with the best and most stable mask; later all alike.

        Stability is SAM's: the IoU of the masks at a higher and a lower threshold (arXiv 2304.02643, B.4).
        """
        if not self._first(state):
            # The first window, around the object, stays the one to come back to.
            return np.array([1.01] + [1.0] * (len(scores) - 1), np.float32)
        high = np.count_nonzero(answers > 0.65, axis=(1, 2))
        low = np.count_nonzero(answers > 0.35, axis=(1, 2))
        chosen = np.zeros(len(scores), np.float32)
        chosen[int(np.argmax(scores * high / np.maximum(low, 1)))] = 1
        return chosen

    def _first(self, state: State) -> bool:
        """Whether nothing is known of the object yet."""
        return state.zoom is None and not (state.probability > self.threshold).any()

    def search(self, state: State) -> tuple[Window, ...]:
        """Squares around the newest click, smallest first, each once."""
        click = state.grid_clicks[-1]
        found: list[Window] = []
        for side in self.sides:
            sides = (side, side) if side < _WHOLE * min(state.shape) else state.shape
            window = _around(click.row, click.col, sides, state.shape)
            if window not in found:
                found.append(window)
        return tuple(found)

    def wanted(self, state: State) -> Window | None:
        """The window around mask and positive clicks; None while there is neither."""
        mask = state.probability > self.threshold
        rows: list[float] = [*np.flatnonzero(mask.any(1))]
        cols: list[float] = [*np.flatnonzero(mask.any(0))]
        for click in state.grid_clicks:
            if click.positive:
                rows.append(click.row)
                cols.append(click.col)
        if not rows:
            return None
        spans = [(min(rows), max(rows)), (min(cols), max(cols))]
        # Nearly square: a thin object stretched to a square no longer looks like anything seen in training.
        longest = max(high - low + 1 for low, high in spans)
        sides = tuple(
            round(max(self.expand * max(high - low + 1, 0.6 * longest), self.min_side)) for low, high in spans
        )
        middle = [(low + high) / 2 for low, high in spans]
        return _around(middle[0], middle[1], (sides[0], sides[1]), state.shape)

    def merge(self, state: State, answer: npt.NDArray[np.float32], window: Window) -> npt.NDArray[np.float32]:
        """The answer inside the window, the mask before outside of it; late clicks change only what they
        touch.
        """
        merged = answer
        if not self._first(state):
            merged = state.probability.copy()
            merged[window.slices] = answer[window.slices]
        if self.local_from and len(state.clicks) >= self.local_from:
            merged = self._local(state, merged)
        return merged

    def _local(self, state: State, merged: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Keep changes that are connected to the newest click (FocalClick's progressive merge, arXiv
        2204.02574).
        """
        before = state.probability
        changed = (before > self.threshold) != (merged > self.threshold)
        click = state.grid_clicks[-1]
        row, col = round(click.row), round(click.col)
        near = np.s_[max(0, row - 2) : row + 3, max(0, col - 2) : col + 3]
        parts, _ = ndi.label(changed, np.ones((3, 3)))
        touched = np.unique(parts[near])
        keep = np.isin(parts, touched[touched > 0])
        return np.where(changed & ~keep, before, merged)


def _holds(window: Window, clicks: Sequence[Click]) -> bool:
    return all(window.contains(click.row, click.col) for click in clicks if click.positive)


def _around(row: float, col: float, sides: tuple[int, int], shape: tuple[int, int]) -> Window:
    """A window of ``sides`` around a position, shifted inside the grid, cut where the grid is smaller."""
    edges = []
    for centre, side, extent in zip((row, col), sides, shape, strict=True):
        side = min(side, extent)
        start = int(np.clip(round(centre - (side - 1) / 2), 0, extent - side))
        edges.append((start, start + side))
    return Window(edges[0][0], edges[1][0], edges[0][1], edges[1][1])
