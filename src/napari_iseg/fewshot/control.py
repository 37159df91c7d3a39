"""How somebody outside steers a run, and what they are told."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from napari_iseg.fewshot.frame import Plane
from napari_iseg.prompts import Window


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes
    ----------
    done, total : jobs of this run that are finished, and that there are
    seconds_left : estimate from the jobs so far; None before the first
    failed : jobs given up
    """

    done: int
    total: int
    seconds_left: float | None
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    """A block is in the output.

    Attributes
    ----------
    plane, window : where
    trust, doubt : 0 to 1 of this block's unit
    annotated : the block is a support's, not a prediction
    """

    plane: Plane
    window: Window
    trust: float
    doubt: float
    annotated: bool


class Control:
    """Pause, resume and cancel a run from another thread; say which plane somebody is looking at."""

    def __init__(self) -> None:
        self._go = threading.Event()
        self._go.set()
        self._stop = threading.Event()
        self.focus: Plane | None = None

    @property
    def paused(self) -> bool:
        """Whether the run waits."""
        return not self._go.is_set()

    @property
    def cancelled(self) -> bool:
        """Whether the run was told to stop."""
        return self._stop.is_set()

    def pause(self) -> None:
        """Begin nothing new until ``resume``."""
        self._go.clear()

    def resume(self) -> None:
        """Go on."""
        self._go.set()

    def cancel(self) -> None:
        """Stop after what is being computed now; what is finished stays and can be resumed."""
        self._stop.set()
        self._go.set()

    def wait(self, timeout: float) -> bool:
        """Wait while paused, at most ``timeout`` seconds; whether the run may go on."""
        return self._go.wait(timeout)
