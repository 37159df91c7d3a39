"""One process per device on this machine."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from napari_iseg.errors import InputError, IsegError
from napari_iseg.fewshot.executors import Local
from napari_iseg.fewshot.jobs import Item, Outcome
from napari_iseg.fewshot.worker import Setup, Worker

_UP, _READY, _REFUSED = "up", "ready", "refused"
_DEPTH = 2  # items with a process: one that is computed, one that is read meanwhile
_STARTS = 3  # of one process in a row: one that is killed is replaced, one that always dies ends the run
_NAME = "napari-iseg worker"  # of our processes, which they know while they read the main script
_AGAIN = 86  # what they end with where that script starts a run: a code that Python itself has not
_GUARD = 'put what it does under `if __name__ == "__main__":`, or use one worker'


def refuse_in_a_start() -> None:
    """Where a new process reads the main script again, and the script starts a run once more, refuse.

    A worker of ours ends with a code that the run understands, which says it once for all of them; a process
    that somebody else has started gets an InputError.
    """
    process = multiprocessing.current_process()
    if getattr(process, "_inheriting", False):  # as multiprocessing itself asks
        if process.name == _NAME:
            raise SystemExit(_AGAIN)
        raise InputError(f"A worker process runs the main script again and must not start a run; {_GUARD}.")


def refuse_in_a_pool() -> None:
    """InputError where this process may not start others."""
    if multiprocessing.current_process().daemon:
        raise InputError("A process of a pool cannot start worker processes; use one worker there.")


class Processes:
    """An executor of several processes; one that dies is replaced, and its items count as tried.

    Parameters
    ----------
    setup : picklable
    devices : one process each, e.g. ("cuda:0", "cuda:1") or ("cpu", "cpu")

    Raises
    ------
    InputError
        When image or model cannot be handed to another process, or a process cannot open them; when the main
        script starts the run without a guard; when a process dies at its start several times in a row.
    """

    def __init__(self, setup: Setup, devices: Sequence[str]) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._setup = setup
        self._lanes: list[_Lane] = []
        self._found: deque[Outcome] = deque()
        self.capacity = _DEPTH * len(devices)
        self.elsewhere = True
        packed = _packed(setup)
        try:
            for device in devices:
                self._lanes.append(self._start(device))
            for lane in self._lanes:
                lane.hand_over(packed)
            for number in range(len(self._lanes)):
                self._settle(number, packed)
        except BaseException:
            self.close()
            raise

    def submit(self, item: Item) -> None:
        """Give an item to the process that has least to do."""
        lane = min(self._lanes, key=lambda lane: len(lane.items))
        lane.give(item)

    def next(self, timeout: float) -> Outcome | None:
        """The next outcome of any process."""
        if self._found:
            return self._found.popleft()
        ready = wait([lane.pipe for lane in self._lanes], timeout)
        for number, lane in enumerate(self._lanes):
            if lane.pipe not in ready:
                continue
            try:
                outcome: Outcome = lane.pipe.recv()
            except (EOFError, OSError):
                self._replace(number)
                continue
            lane.items.pop(outcome.number, None)
            self._found.append(outcome)
        return self._found.popleft() if self._found else None

    def close(self) -> None:
        """End all processes."""
        for lane in self._lanes:
            lane.end()

    def _start(self, device: str) -> _Lane:
        """A process that loads its code; what it works on goes through its pipe, as `start` could block."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=serve, args=(theirs, device), name=_NAME, daemon=True)
        with _importable_main(), _deaf_to_ctrl_c():
            process.start()
        theirs.close()
        return _Lane(process, ours, device)

    def _settle(self, number: int, packed: bytes) -> None:
        """Wait until a process that was handed its setup is ready; put another in the place of a dead one."""
        for _ in range(_STARTS - 1):
            if self._lanes[number].is_ready():
                return
            self._lanes[number].end()
            self._lanes[number] = self._start(self._lanes[number].device)
            self._lanes[number].hand_over(packed)
        lane = self._lanes[number]
        if not lane.is_ready():
            raise InputError(
                f"A worker process{lane.where} ended {_STARTS} times while it started, at last with code "
                f"{lane.process.exitcode} (out of memory?); free memory, or use fewer workers."
            )

    def _replace(self, number: int) -> None:
        """Start a process in place of a dead one; what it held failed this time."""
        lane = self._lanes[number]
        lane.process.join(5)
        reason = f"its process ended with code {lane.process.exitcode} (out of memory?)"
        self._found.extend(Outcome(item, error=reason) for item in lane.items)
        lane.end()
        packed = _packed(self._setup)
        self._lanes[number] = self._start(lane.device)
        self._lanes[number].hand_over(packed)
        self._settle(number, packed)


class _Lane:
    """One process and what it was given."""

    def __init__(self, process: BaseProcess, pipe: Connection[Any, Any], device: str) -> None:
        self.process, self.pipe, self.device = process, pipe, device
        self.where = "" if device == "auto" else f" on {device}"
        self.items: dict[int, Item] = {}

    def hand_over(self, packed: bytes) -> None:
        """Give the setup to the process once its code is loaded; InputError where it ends before that."""
        try:
            self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(10)
            code = self.process.exitcode
            if code == _AGAIN:
                raise InputError(
                    f"The worker processes could not start, as each runs the main script again; {_GUARD}."
                ) from None
            if code is None or code >= 0:
                raise InputError(
                    f"A worker process{self.where} ended with code {code} before it could be given work: "
                    "memory ran out, or the main script, which it runs again, failed there (what it said is "
                    f"above). Free memory, or if it is the script, {_GUARD}."
                ) from None
            return  # killed: `is_ready` finds out
        try:
            self.pipe.send_bytes(packed)
        except OSError:
            return  # as above

    def is_ready(self) -> bool:
        """Wait for its word; False when it has died, InputError when it cannot do the work."""
        try:
            state, reason = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(10)
            return False
        if state == _REFUSED:
            raise InputError(reason)
        return True

    def give(self, item: Item) -> None:
        self.items[item.number] = item
        try:
            self.pipe.send(item)
        except OSError:
            return  # it has died: `next` finds out and answers for its items

    def end(self) -> None:
        self.pipe.close()
        if self.process.is_alive():
            self.process.terminate()
        self.process.join(10)


def _packed(setup: Setup) -> bytes:
    """The setup as bytes; InputError when it holds what lives in this process alone."""
    try:
        return pickle.dumps(setup, pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # objects raise what they like when they are pickled
        raise InputError(_not_handed(error)) from error


def _not_handed(error: Exception) -> str:
    return (
        f"The image or model cannot be handed to another process ({error}); save the image as zarr or TIFF, "
        "and give the model by name or put its class into a module, or use one worker."
    )


@contextmanager
def _importable_main() -> Iterator[None]:
    """Hide a main script that no file holds (``python - < script``), which a process could not run again."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    if file is None or main.__spec__ is not None or Path(file).is_file():
        yield
        return
    del main.__file__
    try:
        yield
    finally:
        main.__file__ = file


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Have a new process leave Ctrl-C, which all of a terminal hear, to this one, which ends it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def serve(pipe: Connection[Any, Any], device: str) -> None:
    """A worker process: a packed setup, then items in, outcomes out, until the pipe closes."""
    worker = _worker(pipe, device)
    if worker is None:
        return
    local, held = Local(worker, readers=1, ahead=_DEPTH - 1), 0
    try:
        while True:
            while not held or (held < _DEPTH and pipe.poll()):
                local.submit(pipe.recv())
                held += 1
            pipe.send(local.next(0))
            held -= 1
    except (EOFError, OSError):  # nobody listens any more
        local.close()


def _worker(pipe: Connection[Any, Any], device: str) -> Worker | None:
    """What works, once it is told what on; None where it cannot, or where the run has ended already."""
    try:
        pipe.send((_UP, ""))
        packed = pipe.recv_bytes()
    except (EOFError, OSError):
        return None
    try:
        worker, word = Worker(replace(_unpacked(packed), device=device)), (_READY, "")
    except IsegError as error:
        worker, word = None, (_REFUSED, str(error))
    with suppress(OSError):
        pipe.send(word)
        return worker
    return None


def _unpacked(packed: bytes) -> Setup:
    try:
        setup: Setup = pickle.loads(packed)
    except Exception as error:  # as a class of a script that no file holds
        raise InputError(_not_handed(error)) from error
    return setup
