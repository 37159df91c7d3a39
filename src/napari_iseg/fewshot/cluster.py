"""The same items on a Dask cluster."""

from __future__ import annotations

import queue
import re
import threading
from contextlib import suppress
from typing import Any
from uuid import uuid4

from napari_iseg.errors import InputError
from napari_iseg.fewshot.executors import attempt
from napari_iseg.fewshot.jobs import Item, Outcome
from napari_iseg.fewshot.worker import Setup, Worker

_ADDRESS = re.compile(r"inproc://.+|[a-z]+://.+:\d+(/.*)?")
_TIMEOUT = 10  # seconds until a silent scheduler is given up


def check_scheduler(address: str) -> None:
    """Refuse a scheduler that does not answer before anything else is done; InputError."""
    _connect(address).close()


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError(
            'A scheduler needs Dask: pip install "napari-iseg[distributed]", or leave the scheduler out.'
        ) from error
    if not _ADDRESS.fullmatch(address):
        raise InputError(
            f"{address!r} is no address of a Dask scheduler; write it as tcp://10.0.0.1:8786, as "
            "the scheduler says when it starts."
        )
    client = Client.__new__(Client)  # in two steps: one that could not begin has to be closed, too
    try:
        Client.__init__(client, address, timeout=f"{_TIMEOUT}s", set_as_default=False)
        client.nthreads()
    except (OSError, ValueError, TimeoutError, TypeError, RuntimeError) as error:
        _let_go(client)
        raise InputError(
            f"No Dask scheduler answers at {address}; start one (dask scheduler) or leave the scheduler out."
        ) from error
    return client


def _let_go(client: Any) -> None:
    """Close a client that may be half made; one that cannot be closed would try so once more at the end."""
    with suppress(Exception):
        client.close(timeout=1)
    client.status = "closed"


class Cluster:
    """An executor on ``dask.distributed``; a lost worker's items go to another by Dask itself.

    Parameters
    ----------
    setup : picklable; its folder must be seen by all workers under the same path
    address : of the scheduler, like "tcp://10.0.0.1:8786"

    Raises
    ------
    InputError
        When ``distributed`` is missing, or no scheduler answers.
    """

    def __init__(self, setup: Setup, address: str) -> None:
        self._client = _connect(address)
        threads = self._client.nthreads()
        self._name = f"napari-iseg-{uuid4().hex}"
        self._client.register_plugin(_plugin(setup, self._name))
        self.capacity = 2 * max(1, len(threads))
        self.elsewhere = True
        self._done: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self._futures: dict[int, Any] = {}

    def submit(self, item: Item) -> None:
        """Give an item to the scheduler."""
        key = f"{self._name}-{item.number}-{uuid4().hex[:8]}"
        future = self._client.submit(compute, item, self._name, key=key, pure=False)
        self._futures[item.number] = future
        future.add_done_callback(lambda done, number=item.number: self._done.put((number, done)))

    def next(self, timeout: float) -> Outcome | None:
        """The next outcome of any worker."""
        try:
            number, future = self._done.get(timeout=timeout)
        except queue.Empty:
            return None
        self._futures.pop(number, None)
        if future.status == "finished":
            outcome: Outcome = future.result()
            return outcome
        return Outcome(number, error=f"its worker was lost ({future.status})")

    def close(self) -> None:
        """Cancel what is not begun, and leave the cluster as it was found."""
        for future in self._futures.values():
            future.cancel()
        if self._client.status == "running":
            self._client.unregister_worker_plugin(self._name)
        self._client.close()


def compute(item: Item, name: str) -> Outcome:
    """On a worker: compute an item with the worker's own image and model."""
    from distributed import get_worker

    holder: Any = get_worker().plugins[name]
    return attempt(item, lambda: _run(holder.state.worker(), item))


def _run(worker: Worker, item: Item) -> Any:
    return worker.run(item, worker.read(item))


class State:
    """What a Dask worker process holds for a run: made when the first item comes."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._worker: Worker | None = None
        self._lock = threading.Lock()

    def worker(self) -> Worker:
        """Image and model, opened once per process."""
        with self._lock:
            if self._worker is None:
                self._worker = Worker(self._setup)
            return self._worker


def _plugin(setup: Setup, name: str) -> Any:
    """A worker plugin: Dask sets it up on every worker, also on one that joins later."""
    from distributed import WorkerPlugin

    class IsegPlugin(WorkerPlugin):  # type: ignore[misc]
        def __init__(self) -> None:
            self.name = name
            self.setup_values = setup

        def setup(self, worker: Any) -> None:  # noqa: ARG002
            self.state = State(self.setup_values)

    return IsegPlugin()
