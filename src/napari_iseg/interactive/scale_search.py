"""Our window rule for small networks: find the object's scale at the first click, then look closely.

At the first click nothing says how large the object is. The published rule shows the network the whole image;
a small
network trained on little data then sees a nucleus as three pixels. Here squares of several sides around the
click are tried in
one batch, and the network's own estimate of its IoU chooses. From then on the window follows the object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from napari_iseg.interactive.merging import PartMerging
from napari_iseg.interactive.rethink import other_object, refutes, stability
from napari_iseg.interactive.state import State
from napari_iseg.interactive.zoom import Look, WindowRule, overlap
from napari_iseg.prompts import Click, Window

_WHOLE = 1.6  # a square this much larger than the image's shorter side becomes the whole image
_FINE_CLICK = 6  # the click from which on details matter more than averaged windows
_FINE_WINDOW = 1.4  # a window this much larger than the network's usual input loses details in it


@dataclass(frozen=True)
class ScaleSearch(WindowRule):
    """Several squares for the first click, afterwards a window around mask and clicks.

    Parameters
    ----------
    sides : squares tried for the first click, in area-grid pixels
    expand : window side by object side afterwards
    min_side : smallest window side afterwards
    keep_iou : the present window is kept while it overlaps the wanted one so far
    threshold : of the mask
    widen : after the first click, wider windows whose answers are averaged with the window's own
    merging : how much of a later answer is taken over, and where; None is all of it
    flip : later windows are averaged with their mirror images
    fine : side of the network's input from the sixth click on, for windows that are much larger than
        ``usual``, its input otherwise; 0 = as usual
    twice : what the first click has found is looked at once more in windows around it
    coarse : side of the network's input for the first click's squares; 0 = as usual
    stability : whether an answer is believed for its stability too, see `interactive.rethink`
    rethink : a second click that refutes the first answer goes on from another one (`interactive.rethink`)
    """

    sides: tuple[int, ...]
    expand: float
    min_side: int
    keep_iou: float
    threshold: float
    widen: tuple[float, ...] = ()
    merging: PartMerging | None = None
    flip: bool = False
    fine: int = 0
    twice: bool = False
    coarse: int = 0
    stability: bool = True
    rethink: bool = False
    usual: int = 128

    def windows(self, state: State) -> Sequence[Window]:
        """Squares of all sides for the first pass, later one window."""
        if self._first(state):
            return self.search(state)
        window = self._followed(state)
        return (window,) if self._finely(state, window) else self._nested(window, state.shape)

    def look(self, state: State, window: Window, usual: Look) -> Look:
        """At the first click coarser; later mirrored too, and large objects, whose details matter, finer."""
        if self._first(state):
            return Look((self.coarse, self.coarse), usual.flip) if self.coarse else usual
        size = (self.fine, self.fine) if self._finely(state, window) else usual.size
        return Look(size, usual.flip or self.flip)

    def _finely(self, state: State, window: Window) -> bool:
        """Whether a window is shown alone and larger, instead of averaged with a wider one."""
        late = len(state.clicks) >= _FINE_CLICK
        return self.fine > 0 and late and max(window.shape) > _FINE_WINDOW * self.usual

    def _followed(self, state: State) -> Window:
        """The window around the object, kept while it fits."""
        wanted = self.wanted(state)
        if state.zoom is None:  # the area has grown
            return wanted or Window.of_shape(state.shape)
        fits = wanted is None or overlap(wanted, state.zoom) >= self.keep_iou
        return state.zoom if wanted is None or (fits and _holds(state.zoom, state.grid_clicks)) else wanted

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
        """One scale at the first click: the one that is believed most; later all alike."""
        if not self._first(state):
            # The first window, around the object, stays the one to come back to.
            return np.array([1.01] + [1.0] * (len(scores) - 1), np.float32)
        chosen = np.zeros(len(scores), np.float32)
        chosen[int(np.argmax(self._beliefs(answers, scores)))] = 1
        return chosen

    def again(self, state: State, answer: npt.NDArray[np.float32]) -> Sequence[Window]:
        """At the first click, the windows of the next one, which fit what was found.

        The square that was chosen seldom has the object in its middle, or filling it as usual.
        """
        if not (self.twice and self._first(state) and (answer > self.threshold).any()):
            return ()
        window = self.wanted(replace(state, probability=answer))
        return () if window is None else self._nested(window, state.shape)

    def spare(
        self, state: State, answer: npt.NDArray[np.float32], windows: Sequence[Window]
    ) -> Sequence[int]:
        """Of the first click's squares those no larger than what it found: `interactive.rethink`."""
        if not (self.rethink and self._first(state)) or len(state.clicks) != 1:
            return ()
        most = np.count_nonzero(answer > self.threshold)
        return [k for k, window in enumerate(windows) if window.height * window.width <= most]

    def rethought(self, state: State) -> State:
        """As if the first click had found another, much smaller object, if the second says: all wrong.

        Where there is such an object to believe in.
        """
        if state.tried is None or len(state.clicks) < 2:
            return state
        windows, answers, scores = state.tried
        state, newest = replace(state, tried=None), state.grid_clicks[1]
        mask = state.probability > self.threshold
        if state.box is not None or len(state.clicks) > 2 or not refutes(newest, mask):
            return state
        refuted, beliefs = int(np.count_nonzero(mask)), self._beliefs(answers, scores)
        chosen = other_object(refuted, newest, windows, answers, beliefs, self.threshold)
        if chosen is None:
            return state
        probability = np.zeros_like(state.probability)
        probability[windows[chosen].slices] = answers[chosen]
        return replace(state, probability=probability, zoom=windows[chosen])

    def _beliefs(
        self,
        answers: Sequence[npt.NDArray[np.float32]] | npt.NDArray[np.float32],
        scores: npt.NDArray[np.float32],
    ) -> npt.NDArray[np.float32]:
        """How good each answer at a first click seems, (K,): by the network's own estimate."""
        return scores * stability(answers) if self.stability else scores

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
        """The first answer as it is; a later one by its shares inside the window, outside the mask before."""
        if self._first(state):
            return answer
        before = state.probability
        merged = before.copy()
        share: npt.NDArray[np.float32] | float = 1.0
        if self.merging is not None and len(state.clicks) > 1:
            share = self.merging.share(state, answer, window)
        merged[window.slices] += share * (answer[window.slices] - before[window.slices])
        return merged


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
