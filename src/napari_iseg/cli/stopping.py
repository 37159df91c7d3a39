"""How a command is stopped: Ctrl-C, and what the system sends before it ends a process (SIGTERM), alike.

Loads next to nothing: it has to be there before anything else is.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPPED = 130
TERMINATED = 143


class StoppedError(Exception):
    """A command was stopped, and what is kept of it can be gone on with: its words say how."""


@contextmanager
def like_ctrl_c() -> Iterator[Callable[[], bool]]:
    """Within the block a first SIGTERM is what Ctrl-C would be; a second one ends the process at once.

    Outside the main thread, or where the program handles it in a way of its own, nothing changes.

    Yields
    ------
    asked : whether there was one
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield lambda: False
        return
    asked = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        interrupted = signal.getsignal(signal.SIGINT)  # whoever hears of Ctrl-C hears of this
        if not callable(interrupted):  # of a command in the background shells turn Ctrl-C off
            raise KeyboardInterrupt
        interrupted(number, frame)

    signal.signal(signal.SIGTERM, note)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def leave_to_the_system() -> None:
    """For a window: while it waits for the mouse no handler of ours would run, and it could not be ended."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
