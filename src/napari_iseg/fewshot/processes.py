"""One process per device on this machine."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from napari_iseg.errors import InputError, IsegError
from napari_iseg.fewshot.executors import Local
from napari_iseg.fewshot.jobs import Item, Outcome
from napari_iseg.fewshot.worker import Setup, Worker

_READY, _REFUSED = "ready", "refused"
_DEPTH = 2  # items with a process: one that is computed, one that is read meanwhile


class Processes:
    """An executor of several processes; one that dies is replaced, and its items count as tried.

    Parameters
    ----------
    setup : picklable
    devices : one process each, e.g. ("cuda:0", "cuda:1") or ("cpu", "cpu")

    Raises
    ------
    InputError
        When image or model cannot be handed to another process, or a process cannot open them.
    """

    def __init__(self, setup: Setup, devices: Sequence[str]) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._setup = setup
        self._lanes: list[_Lane] = []
        self._found: deque[Outcome] = deque()
        self.capacity = _DEPTH * len(devices)
        self.elsewhere = True
        try:
            for device in devices:
                self._lanes.append(self._start(device))
            for lane in self._lanes:
                lane.await_ready()
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
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=serve, args=(replace(self._setup, device=device), theirs), daemon=True
        )
        try:
            process.start()
        except (TypeError, AttributeError, ValueError, OSError) as error:  # what pickle says of live objects
            if "pickle" in str(error).lower() or isinstance(error, (TypeError, AttributeError)):
                raise InputError(
                    f"The image or model cannot be handed to another process ({error}); save the image as "
                    "zarr or TIFF and give the model by name, or use one worker."
                ) from error
            raise
        theirs.close()
        return _Lane(process, ours, device)

    def _replace(self, number: int) -> None:
        """Start a process in place of a dead one; what it held failed this time."""
        lane = self._lanes[number]
        lane.process.join(5)
        reason = f"its process ended with code {lane.process.exitcode} (out of memory?)"
        self._found.extend(Outcome(item, error=reason) for item in lane.items)
        lane.end()
        self._lanes[number] = self._start(lane.device)
        self._lanes[number].await_ready()


class _Lane:
    """One process and what it was given."""

    def __init__(self, process: BaseProcess, pipe: Connection[Any, Any], device: str) -> None:
        self.process, self.pipe, self.device = process, pipe, device
        self.items: dict[int, Item] = {}

    def await_ready(self) -> None:
        try:
            state, reason = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise InputError(
                f"A worker process on {self.device} ended while it started; try with one worker."
            ) from error
        if state == _REFUSED:
            raise InputError(reason)

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


def serve(setup: Setup, pipe: Connection[Any, Any]) -> None:
    """A worker process: items in, outcomes out, until the pipe closes."""
    try:
        worker = Worker(setup)
    except IsegError as error:
        pipe.send((_REFUSED, str(error)))
        return
    pipe.send((_READY, ""))
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
