"""Jobs: predictions that run in any thread, on values that cannot change, and the cache of their states."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from napari_iseg.errors import CancelledError
from napari_iseg.interactive.objects import Draft, Plane
from napari_iseg.interactive.state import State
from napari_iseg.prompts import Box, Click, Window


def never() -> bool:
    """Work that nobody cancels."""
    return False


class ClickPredictor(Protocol):
    """What a session needs of a predictor; see ``interactive.predictor.Predictor``."""

    def start(self, at: Click | Box, view: Window | None = None) -> State:
        """The state before the first click."""

    def step(
        self,
        state: State | None,
        click: Click | None,
        *,
        box: Box | None = None,
        view: Window | None = None,
        cancelled: Callable[[], bool] = never,
    ) -> State:
        """The state after one more click; with a box and no click, after the box alone."""


@dataclass(frozen=True)
class Result:
    """States after ``first``, ``first + 1``, ... clicks of a draft, and the revision they answer.

    A draft with a box has a state after 0 clicks, that of the box.
    """

    revision: int
    plane: Plane
    draft: Draft
    first: int
    states: tuple[State, ...]


@dataclass(frozen=True)
class Job:
    """What is left to compute for the open object: clicks ``done`` and later, from the state of the clicks
    before.

    Immutable and independent of the session, so ``run`` may be called in a worker thread.
    """

    revision: int
    plane: Plane
    draft: Draft
    predictor: ClickPredictor
    done: int
    state: State | None

    def run(self, cancelled: Callable[[], bool] = never) -> Result:
        """Predict click after click.

        Raises
        ------
        CancelledError
            When ``cancelled()`` turned true; nothing is kept.
        IsegError
            What the predictor refuses; the session still has the click, so that it can be moved, removed or
            undone.
        """
        draft, state = self.draft, self.state
        states: list[State] = []
        if state is None and draft.box is not None:
            state = self.predictor.step(None, None, box=draft.box, view=draft.box_view, cancelled=cancelled)
            states.append(state)
        first = self.done if states else self.done + 1
        for placed in draft.marks[self.done :]:
            if cancelled():
                raise CancelledError("The prediction was stopped.")
            state = self.predictor.step(
                state, placed.click, box=draft.box, view=placed.view, cancelled=cancelled
            )
            states.append(state)
        return Result(self.revision, self.plane, draft, first, tuple(states))


class StateCache:
    """States by (plane, prompts so far), the least recently used ones dropped above ``limit`` bytes.

    What is dropped is recomputed by replaying the clicks, which gives the same bits.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._states: OrderedDict[tuple[Plane, Draft], State] = OrderedDict()
        self._bytes = 0

    def get(self, plane: Plane, draft: Draft, count: int) -> State | None:
        """The state after the first ``count`` clicks of a draft, if kept."""
        key = (plane, draft.first(count))
        state = self._states.get(key)
        if state is not None:
            self._states.move_to_end(key)
        return state

    def longest(self, plane: Plane, draft: Draft) -> tuple[int, State | None]:
        """The largest number of clicks a state is kept for, and that state; (0, None) when there is none."""
        for count in range(len(draft.marks), -1, -1):
            state = self.get(plane, draft, count)
            if state is not None:
                return count, state
        return 0, None

    def put(self, plane: Plane, draft: Draft, count: int, state: State) -> None:
        """Keep a state; the newest one stays even when it is larger than the limit."""
        key = (plane, draft.first(count))
        known = self._states.pop(key, None)
        self._bytes += state.nbytes - (known.nbytes if known is not None else 0)
        self._states[key] = state
        while self._bytes > self._limit and len(self._states) > 1:
            _, old = self._states.popitem(last=False)
            self._bytes -= old.nbytes

    def clear(self) -> None:
        """Forget all states."""
        self._states.clear()
        self._bytes = 0
