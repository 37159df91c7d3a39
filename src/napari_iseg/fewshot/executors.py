"""Where items are computed: here, in processes of this machine, or on a cluster."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from napari_iseg.errors import DamageError, IsegError, SaveError
from napari_iseg.fewshot.jobs import Item, Outcome, Result
from napari_iseg.fewshot.worker import Seen, Worker


class Executor(Protocol):
    """Computes items; outcomes come back in any order.

    Attributes
    ----------
    capacity : items that should be with it so that it never waits
    elsewhere : whether items are computed while nobody calls ``next``
    """

    capacity: int
    elsewhere: bool

    def submit(self, item: Item) -> None:
        """Take an item."""

    def next(self, timeout: float) -> Outcome | None:
        """The next outcome; None when none came within ``timeout`` seconds."""

    def close(self) -> None:
        """Drop what is not begun and free everything."""


class Local:
    """This process: threads read ahead while the calling thread runs the model.

    Parameters
    ----------
    worker : made already, since it may hold a model that a viewer uses too
    readers : threads that read
    ahead : items that are read before their turn
    """

    def __init__(self, worker: Worker, *, readers: int = 2, ahead: int = 3) -> None:
        self.capacity = 1 + max(0, ahead)
        self.elsewhere = False
        self._worker = worker
        self._pool = ThreadPoolExecutor(max(1, readers), thread_name_prefix="iseg-read")
        self._waiting: deque[tuple[Item, Future[list[Seen]]]] = deque()

    def submit(self, item: Item) -> None:
        """Begin to read an item's windows."""
        self._waiting.append((item, self._pool.submit(self._worker.read, item)))

    def next(self, timeout: float) -> Outcome | None:  # noqa: ARG002
        """Run the oldest item to its end; ``timeout`` is not looked at."""
        if not self._waiting:
            return None
        item, seen = self._waiting.popleft()
        return attempt(item, lambda: self._worker.run(item, seen.result()))

    def close(self) -> None:
        """Stop the readers."""
        for _, seen in self._waiting:
            seen.cancel()
        self._waiting.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)


def attempt(item: Item, work: Callable[[], list[Result]]) -> Outcome:
    """The outcome of an item; the border at which any failure of a unit becomes one sentence."""
    try:
        return Outcome(item.number, tuple(work()))
    except SaveError as error:
        return Outcome(item.number, error=str(error), fatal="save")
    except DamageError as error:  # of what this unit looks at; others are still well
        return Outcome(item.number, error=str(error))
    except IsegError as error:
        return Outcome(item.number, error=str(error), fatal="input")
    except Exception as error:  # a unit must not end a run of hours: it is retried, then named
        first = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {first[0]}" if first else type(error).__name__
        return Outcome(item.number, error=reason)
