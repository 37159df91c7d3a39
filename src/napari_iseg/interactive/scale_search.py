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

from napari_iseg.interactive.state import State
from napari_iseg.interactive.zoom import overlap
from napari_iseg.prompts import Click, Window

_SHALLOW = 0.2  # an error less deep than this share of the object's radius is one of its outline
_LEAST_DEPTH = 2.5  # pixels: of a small object every error is a deep one
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
    reach : a later click changes what lies within so many times its depth in the error; 0 = everything
    elsewhere : share of the answer that is taken over beyond the reach
    """

    sides: tuple[int, ...]
    expand: float
    min_side: int
    keep_iou: float
    threshold: float
    widen: tuple[float, ...] = ()
    reach: float = 0.0
    elsewhere: float = 0.0

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
        """Whether nothing is known of the object's size yet."""
        if state.box is not None:
            return False
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
        """The window around mask, positive clicks and box; None while there is none of them."""
        mask = state.probability > self.threshold
        rows: list[float] = [*np.flatnonzero(mask.any(1))]
        cols: list[float] = [*np.flatnonzero(mask.any(0))]
        for click in state.grid_clicks:
            if click.positive:
                rows.append(click.row)
                cols.append(click.col)
        box = state.grid_box
        if box is not None:
            rows += [box.row0, box.row1 - 1]
            cols += [box.col0, box.col1 - 1]
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
        """The answer inside the window and within the reach of the newest click, else the mask before."""
        if self._first(state):
            return answer
        before = state.probability
        merged = before.copy()
        share = self._share(state, window) if self.reach and len(state.clicks) > 1 else np.float32(1)
        merged[window.slices] += share * (answer[window.slices] - before[window.slices])
        return merged

    def _share(self, state: State, window: Window) -> npt.NDArray[np.float32]:
        """How much of the answer each pixel of ``window`` takes over: 1 near the newest click, less far off.

        A click that lies d pixels deep in what it says is wrong speaks of an error about that large;
        elsewhere the mask was good enough not to be clicked, and the answer is averaged with it.
        """
        click = state.grid_clicks[-1]
        rows, cols = np.arange(state.shape[0]) - click.row, np.arange(state.shape[1]) - click.col
        rows, cols = rows[window.top : window.bottom], cols[window.left : window.right]
        distance = np.hypot(rows[:, None], cols[None]).astype(np.float32)
        mask = state.probability[window.slices] > self.threshold
        other = distance[mask == click.positive]
        depth = max(_LEAST_DEPTH, float(other.min())) if other.size else float("inf")
        if depth > _SHALLOW * np.sqrt(np.count_nonzero(mask) / np.pi):
            return np.ones_like(distance)  # the mask as a whole is in question, not its outline
        share = np.clip(3 - 2 * distance / (self.reach * depth), self.elsewhere, 1)
        return np.asarray(share, np.float32)


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
