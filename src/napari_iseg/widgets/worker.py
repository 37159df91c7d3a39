"""One background thread per dock: the newest prediction wins, other tasks run one after the other.

The thread is started when there is work and ends by itself after a while without, so that a dock at rest
holds none. Functions get ``cancelled()`` and are expected to look at it between steps. Their results are
delivered in the GUI thread; the result of work that was superseded or cancelled is dropped.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_iseg.errors import CancelledError

Work = Callable[[Callable[[], bool]], Any]
LINGER = 5.0  # seconds an idle thread waits: starting a new one costs torch's thread pool
TICK = 0.5  # seconds between looks at whether the interpreter is going down


@dataclass(eq=False)
class Request:
    """A piece of work and what to do with its outcome (both callbacks run in the GUI thread)."""

    work: Work
    done: Callable[[Any], None]
    failed: Callable[[Exception], None]
    newest_wins: bool
    stop: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a request."""

    request: Request
    result: Any
    error: Exception | None


class Worker(QObject):
    """Runs requests one at a time beside the GUI."""

    _finished = Signal(object)  # an Outcome

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._condition = threading.Condition()
        self._tasks: deque[Request] = deque()
        self._newest: Request | None = None
        self._running: Request | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self._open: set[Request] = set()  # not yet delivered; touched by the GUI thread only
        self._finished.connect(self._deliver)

    @property
    def busy(self) -> bool:
        """Whether something is running, waiting, or finished but not delivered."""
        return bool(self._open)

    def submit_newest(
        self, work: Work, done: Callable[[Any], None], failed: Callable[[Exception], None]
    ) -> None:
        """Run ``work`` in place of any earlier newest-wins request, which is cancelled and dropped."""
        self.cancel_newest()
        self._submit(Request(work, done, failed, newest_wins=True))

    def submit_task(
        self, work: Work, done: Callable[[Any], None], failed: Callable[[Exception], None]
    ) -> None:
        """Run ``work`` after the tasks before it; it is only dropped by `close`."""
        self._submit(Request(work, done, failed, newest_wins=False))

    def cancel_newest(self) -> None:
        """Give up the newest-wins request, whether it waits or runs; its outcome is dropped."""
        with self._condition:
            waiting, self._newest = self._newest, None
            if self._running is not None and self._running.newest_wins:
                self._running.stop.set()
        for request in self._open:
            if request.newest_wins:  # also one whose outcome is on its way here
                request.stop.set()
        if waiting is not None:
            self._open.discard(waiting)

    def close(self) -> None:
        """Stop predicting, deliver nothing more, and let the thread end after the tasks; cannot be undone."""
        with self._condition:
            self._closed = True
            if self._running is not None:
                self._running.stop.set()
            self._newest = None
            self._condition.notify_all()

    def join(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for the thread to end; whether it did."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return thread is None or not thread.is_alive()

    def _submit(self, request: Request) -> None:
        with self._condition:
            if self._closed:
                return
            if request.newest_wins:
                self._newest = request
            else:
                self._tasks.append(request)
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="napari-iseg worker", daemon=False)
                self._thread.start()
            self._condition.notify_all()
        self._open.add(request)

    def _next(self) -> Request | None:
        """The next request, or None when the thread shall end; tasks go before predictions."""
        waited = 0.0
        with self._condition:
            self._running = None
            while not (self._closed or self._tasks or self._newest is not None):
                if waited >= LINGER or not threading.main_thread().is_alive():
                    break
                self._condition.wait(TICK)
                waited += TICK
            if not self._tasks and (self._closed or self._newest is None):
                self._thread = None
                return None
            if self._tasks:
                self._running = self._tasks.popleft()
            else:
                self._running, self._newest = self._newest, None
            return self._running

    def _loop(self) -> None:
        while (request := self._next()) is not None:
            result, error = None, None
            try:
                result = request.work(partial(_unwanted, request))
            except CancelledError:
                request.stop.set()
            except Exception as caught:  # the border of the thread: reported by the GUI thread
                error = caught
            except BaseException as caught:  # a library that wants to exit must not end the thread
                error = RuntimeError(f"The work ended with {caught!r}.")
                error.__cause__ = caught
            with self._condition:
                self._running = None
                if self._closed:
                    continue
                # emitted under the lock: close() cannot come between the look and the emission
                self._finished.emit(Outcome(request, result, error))

    def _deliver(self, outcome: Outcome) -> None:
        if self._closed:
            return
        request = outcome.request
        try:
            if not request.stop.is_set():
                if outcome.error is None:
                    request.done(outcome.result)
                else:
                    request.failed(outcome.error)
        finally:
            self._open.discard(request)


def _unwanted(request: Request) -> bool:
    """Whether nobody wants a result any more: also where the interpreter goes down without `Worker.close`."""
    return request.stop.is_set() or not threading.main_thread().is_alive()
