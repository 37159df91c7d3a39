"""Objects too thin for the click network's window: there a rule per pixel, fitted to clicks, stands in.

A vessel tree of a picture of 1000 pixels, shown at 128, is less than a pixel wide; what the network
answers is a blob. The rule sees the picture at its own resolution, but knows nothing of objects: it marks
whatever looks like what was clicked on. So it is believed only where what it marks, connected to the
clicks, is a tree of strokes, where it would have foreseen the clicks that corrected the network, and where
the network says something quite different.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from napari_iseg.backends.edge_contrast import stroke
from napari_iseg.interactive.merging import changed_part, distance
from napari_iseg.interactive.passes import run_pass
from napari_iseg.interactive.state import State
from napari_iseg.interactive.zoom import WindowRule
from napari_iseg.own_lock import OwnLock
from napari_iseg.prompts import Window

if TYPE_CHECKING:
    from torch import Tensor

    from napari_iseg.backends.model import Model
    from napari_iseg.backends.thin_model import Seen, ThinModel
    from napari_iseg.interactive.refine import OnePass

Bool = npt.NDArray[np.bool_]

_REACH = 0.1  # of the picture's side, around the newest click, by the clicks so far from the fourth on
_LARGE = 3  # clicks that may mean large errors: large ones are mended first
_MOST = 2048 * 2048  # pixels of an area; a larger one would take gigabytes to see


class Marked(NamedTuple):
    """What the rule marks: its ``probability`` where that hangs together with a click, else zero, as a
    mask the ``part``, and the ``share`` of all that it marks in the picture which that is.
    """

    probability: npt.NDArray[np.float32]
    part: Bool
    share: float


@dataclass(frozen=True)
class ThinGate:
    """When the rule is believed.

    Parameters
    ----------
    slender : extent of the marked part by the width of its strokes, from which on it is too thin for the
        network
    together : share of all that is marked which hangs together with the clicks; what is strewn all over
        the picture is no tree
    unlike : largest IoU with the network's answer; where the two agree the network's outline is the better
        one
    soon : the last click at which the rule may take over; by then the network has been corrected to an object
        that it sees
    stays : share of the first two limits that is enough for a rule that was believed at the click before
    """

    slender: float = 60.0
    together: float = 1 / 3
    unlike: float = 0.25
    soon: int = 5
    stays: float = 2 / 3

    def enters(self, foreseen: Sequence[bool], marked: Marked, answer: Bool) -> bool:
        """Whether what is ``marked`` takes the place of the network's ``answer``."""
        part = marked.part
        common, either = np.count_nonzero(part & answer), np.count_nonzero(part | answer)
        differs = bool(common <= self.unlike * either)
        return differs and all(foreseen) and self._is_tree(marked, 1.0)

    def holds(self, marked: Marked) -> bool:
        """Whether a rule that was believed before still is."""
        return self._is_tree(marked, self.stays)

    def _is_tree(self, marked: Marked, ease: float) -> bool:
        return marked.share >= ease * self.together and slenderness(marked.part) >= ease * self.slender


class ThinPass:
    """One pass that asks the click network, and the rule where there may be strokes; see the module."""

    def __init__(
        self, load: Callable[[], ThinModel], gate: ThinGate | None = None, ask: OnePass = run_pass
    ) -> None:
        self._load = load
        self._ask = ask
        self.gate = gate or ThinGate()
        # Of the present area: 24 bytes a pixel, 48 once the rule has answered.
        self._seen: tuple[tuple[Window, int], Seen] | None = None
        self._lock = OwnLock()

    @property
    def thin(self) -> ThinModel:
        """The model that sees and fits."""
        return self._load()

    def __call__(self, model: Model, rule: WindowRule, image: Tensor, state: State) -> State:
        """The state after one pass; its ``thin`` says who answered.

        The network answers the first click: what it may mean is the network's to say. While the rule is
        believed the network is not asked.

        Parameters
        ----------
        image : (3, rows, cols) float32 in [0, 1], the area grid of ``state``
        """
        if state.thin and self._may_ask(state):
            marked = self._marked(image, state)
            if self.gate.holds(marked):
                answer = marked.probability if state.thin < 0 else self._merged(state, marked.probability)
                return self._answered(state, answer)
        after = replace(self._ask(model, rule, image, state), thin=0)
        foreseen = self._foreseen(image, state)
        if not foreseen or not all(foreseen):
            return after
        marked = self._marked(image, state)
        if not self.gate.enters(foreseen, marked, after.probability > model.inference.threshold):
            return after
        return self._answered(replace(state, thin=0), marked.probability)

    @staticmethod
    def _answered(state: State, answer: npt.NDArray[np.float32]) -> State:
        """The state with the rule's answer; the pixels at the newest click are as it says."""
        answer = answer.copy()
        click = state.grid_clicks[-1]
        row, col = round(click.row), round(click.col)
        answer[max(0, row - 1) : row + 2, max(0, col - 1) : col + 2] = float(click.positive)
        return replace(state, probability=answer, zoom=None, thin=max(0, state.thin) + 1)

    def _foreseen(self, image: Tensor, state: State) -> list[bool]:
        """For each click after the first, whether the rule had it right before; empty: not asked."""
        clicks = state.grid_clicks
        if not 2 <= len(clicks) <= self.gate.soon or not self._may_ask(state):
            return []
        return self.thin.foreseen(self._look(image, state), clicks)

    @staticmethod
    def _may_ask(state: State) -> bool:
        known = state.box is None and state.clicks[0].positive
        return known and state.shape[0] * state.shape[1] <= _MOST

    def _marked(self, image: Tensor, state: State) -> Marked:
        """What the rule marks in connection with an object click or with its answer before."""
        probability = self.thin.probability(self._look(image, state), state.grid_clicks)
        seeds = under_object_clicks(state)
        if state.thin:
            seeds |= state.probability > self.thin.threshold
        mask = probability > self.thin.threshold
        part = connected(mask, seeds)
        share = np.count_nonzero(part) / max(1, int(np.count_nonzero(mask)))
        return Marked(np.where(part, probability, np.float32(0)), part, share)

    def _merged(self, state: State, answer: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """A mean of all answers of the rule, the first ones counting more; near the newest click, where
        the click asks for a change, the newest answer.

        A click may connect or cut off half of a tree; how far that is meant nothing says, so it counts for
        a tenth of the picture's side around the click and fades over another. From the fourth click on that
        shrinks, as one over their number.
        """
        share = np.full(state.shape, 1 / (2 * state.thin + 1), np.float32)
        whole = Window.of_shape(state.shape)
        part = changed_part(state, answer, whole, self.thin.threshold, connectivity=2)
        if part is not None:
            away = distance(state.grid_clicks[-1], whole)
            reach = _REACH * min(1.0, _LARGE / len(state.clicks)) * max(state.shape)
            near = np.clip(2 - away / reach, 0, 1)
            share = np.where(part, np.maximum(share, near), share)
        return np.asarray(state.probability + share * (answer - state.probability), np.float32)

    def _look(self, image: Tensor, state: State) -> Seen:
        key = (state.area, state.scale)
        with self._lock:
            if self._seen is None or self._seen[0] != key:
                self._seen = key, self.thin.look(image)
            return self._seen[1]


def under_object_clicks(state: State) -> Bool:
    """Pixels within one of an object click, in each direction, on the area grid."""
    found = np.zeros(state.shape, np.bool_)
    for click in state.grid_clicks:
        if click.positive:
            row, col = round(click.row), round(click.col)
            found[max(0, row - 1) : row + 2, max(0, col - 1) : col + 2] = True
    return found


def connected(mask: Bool, seeds: Bool) -> Bool:
    """What of ``mask`` hangs together, diagonally too, with a pixel of ``seeds``."""
    labels, count = ndi.label(mask, np.ones((3, 3)))
    touched = np.zeros(count + 1, np.bool_)
    touched[labels[seeds]] = True
    touched[0] = False
    return np.asarray(touched[labels], np.bool_)


def slenderness(mask: Bool) -> float:
    """Longer side of what is marked by the width of its strokes; 0 of an empty mask."""
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 0.0
    part = mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    return float(max(part.shape)) / stroke(np.pad(part, 1))
