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

    SIGTERM, which the command line passes on to whoever hears of Ctrl-C, is noted too, also where Ctrl-C
    itself is ignored, as shells have it for commands in the background. Where the program handles Ctrl-C in
    a way of its own, or outside the main thread, nothing changes.

    Yields
    ------
    asked : whether one of them has come
    """
    before = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    if not main or before not in (signal.default_int_handler, signal.SIG_IGN):
        yield lambda: False
        return
    pressed = False

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        nonlocal pressed
        if number == signal.SIGINT and before is signal.SIG_IGN:
            return
        pressed = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)
