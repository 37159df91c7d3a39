"""Ctrl-C during training: the step that runs is finished first, so that it can be kept whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def ctrl_c_noted() -> Iterator[Callable[[], bool]]:
    """Within the block the first Ctrl-C is only noted; a second one interrupts at once.

    Where the program handles Ctrl-C in a way of its own, or outside the main thread, nothing changes.

    Yields
    ------
    asked : whether Ctrl-C has been pressed
    """
    before = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    if not main or before is not signal.default_int_handler:
        yield lambda: False
        return
    pressed = False

    def note(number: int, frame: FrameType | None) -> None:
        del number, frame
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)
