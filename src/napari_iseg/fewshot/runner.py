"""The run itself: gives out items, blends what comes back, writes it, records it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError, SaveError
from napari_iseg.fewshot.blending import blend
from napari_iseg.fewshot.control import Control, Progress, Written
from napari_iseg.fewshot.executors import Executor
from napari_iseg.fewshot.jobs import Item, Outcome, Unit
from napari_iseg.fewshot.output import Output
from napari_iseg.fewshot.plan import Plan
from napari_iseg.fewshot.record import Record
from napari_iseg.fewshot.todo import Todo
from napari_iseg.labels.regions import part_of

ATTEMPTS = 3
_POLL = 0.2  # seconds

Listener = Callable[[Progress | Written], None]


@dataclass(frozen=True, slots=True)
class Failure:
    """A unit that could not be predicted: its name as people say it, and one sentence on why."""

    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended.

    Attributes
    ----------
    computed : jobs that were computed now; ``kept`` blocks were valid from before
    pixels : of the output that were predicted now
    failed : what is missing, by name; empty: everything is there
    cancelled : stopped on request
    model_seconds : time inside the model, all workers together; ``seconds`` on the clock
    """

    computed: int
    kept: int
    pixels: int
    failed: tuple[Failure, ...]
    cancelled: bool
    seconds: float
    model_seconds: float


class Runner:
    """Brings the output up to a plan.

    Parameters
    ----------
    plan, record, output, executor : what, what is known, where to, and by whom
    control : pause, cancel, focus
    listener : told of progress and of every block, in this thread
    batch : jobs per item
    predicted : told of every prediction, and when all is done
    """

    def __init__(
        self,
        plan: Plan,
        record: Record,
        output: Output,
        executor: Executor,
        *,
        control: Control | None = None,
        listener: Listener | None = None,
        batch: int = 1,
        predicted: Callable[[], None] | None = None,
    ) -> None:
        self._plan, self._record, self._output, self._executor = plan, record, output, executor
        self._control = control or Control()
        self._tell = listener or (lambda _: None)
        self._predicted = predicted or (lambda: None)
        self._todo = Todo(plan, record, batch)
        self._kept = len(plan.blocks) - len(self._todo.blocks)
        self._held: dict[int, Item] = {}
        self._tries: dict[int, int] = {}
        self._failed: list[Failure] = []
        self._done = 0
        self._pixels = 0
        self._model_seconds = 0.0
        self._first = (0.0, 0)  # when the first items were back, and how many jobs: they also warm up

    def run(self) -> Ended:
        """Run to the end, or until cancelled.

        Raises
        ------
        InputError, SaveError
            When no unit can be done (bad input, disk full); what is finished is kept and can be resumed.
        """
        self._start = perf_counter()
        try:
            for unit in self._todo.ready_at_start():
                self._write(unit)
            self._progress()
            while (self._feed() or self._held) and not self._control.cancelled:
                if self._control.paused and not self._executor.elsewhere:
                    continue  # what was read ahead waits too
                outcome = self._executor.next(_POLL)
                if outcome is not None:
                    self._take(outcome)
        finally:
            self._executor.close()
        cancelled = self._control.cancelled and bool(self._todo.blocks)
        if not cancelled:
            self._output.finish(self._trust(), max(self._plan.rules.labels))
            if not self._failed:
                self._record.scratch.clear()
                self._predicted()
        return Ended(
            self._done,
            self._kept,
            self._pixels,
            tuple(self._failed),
            cancelled,
            perf_counter() - self._start,
            self._model_seconds,
        )

    def _feed(self) -> bool:
        """Give the executor what it can take; whether there is more to come."""
        if self._control.cancelled:
            return False
        if not self._control.wait(_POLL):
            return True
        while len(self._held) < self._executor.capacity:
            item = self._todo.take(self._control.focus)
            if item is None:
                break
            self._held[item.number] = item
            self._executor.submit(item)
        return False

    def _take(self, outcome: Outcome) -> None:
        item = self._held.pop(outcome.number)
        if outcome.fatal:
            raise (SaveError if outcome.fatal == "save" else InputError)(outcome.error)
        if outcome.error:
            self._retry(item, outcome.error)
            return
        for job, result in zip(item.jobs, outcome.results, strict=True):
            self._record.done(job, result)
            self._done += 1
            self._model_seconds += result.seconds
            if not (job.fixed or result.is_empty):
                self._predicted()
        for unit in self._todo.finished([job.name for job in item.jobs]):
            self._write(unit)
        self._progress()

    def _retry(self, item: Item, reason: str) -> None:
        self._tries[item.number] = self._tries.get(item.number, 0) + 1
        if self._tries[item.number] < ATTEMPTS:
            self._todo.put_back(item)
            return
        for name in self._todo.lost([job.name for job in item.jobs]):
            job = self._plan.jobs[name]
            self._record.fail(name, reason)
            self._failed.append(Failure(self._where(job.unit), reason))
        self._progress()

    def _write(self, unit: Unit) -> None:
        """Blend a block from its tiles, keep supports as they are, write, record."""
        labels = self._plan.rules.labels
        core = self._plan.grid.core(unit.row, unit.col)
        drafts = [(job, self._record.scratch.read(job.name)) for job in self._plan.finals(unit)]
        missing = [job.name for job, draft in drafts if draft is None or draft.probability is None]
        if missing:
            self._record.scratch.drop(missing[0])
            raise InputError(
                f"A draft of {self._where(unit)} is damaged ({missing[0]}); start the run again, it is then "
                "made anew."
            )
        parts = [
            ((job.unit.row, job.unit.col), draft.with_background())
            for job, draft in drafts
            if draft is not None
        ]
        probability = blend(self._plan.grid, core, parts, len(labels) + 1)
        values = np.asarray([0, *labels], np.uint32)[probability.argmax(0)]
        for ref in self._plan.overrides(unit):
            mask = self._record.supports.read(ref, None).mask
            common = ref.window.intersect(core)
            known = mask[part_of(common, ref.window)]
            part = values[part_of(common, core)]
            part[known >= 0] = known[known >= 0]
        self._output.write(unit.plane, core, values, probability[1:], self._plan.inside(unit))
        self._record.written(unit.name, self._todo.digest(unit))
        own = self._plan.jobs[unit.name]
        if not own.fixed:
            self._pixels += core.height * core.width
        result = self._record.result(own)
        self._todo.written(unit)
        if result is not None:
            self._tell(Written(unit.plane, core, result.trust, result.doubt, bool(own.fixed)))

    def _progress(self) -> None:
        now, left = perf_counter(), None
        if self._done and not self._first[1]:
            self._first = now, self._done
        if self._done:
            since, before = (self._start, 0) if self._done == self._first[1] else self._first
            rate = (now - since) / (self._done - before)
            left = rate * max(0, self._todo.total - self._done - len(self._failed))
        self._tell(Progress(self._done, self._todo.total, left, len(self._failed)))

    def _trust(self) -> npt.NDArray[np.float32]:
        frame, grid = self._plan.frame, self._plan.grid
        trust = self._output.trust()
        if trust is None:
            trust = np.full((*frame.leading_shape, *grid.count), np.nan, np.float32)
        for unit in self._plan.blocks:
            result = self._record.result(self._plan.jobs[unit.name])
            if result is not None:
                trust[(*unit.plane, unit.row, unit.col)] = result.trust
        return trust

    def _where(self, unit: Unit) -> str:
        name = self._plan.frame.name(unit.plane)
        if self._plan.grid.count == (1, 1):
            return name
        core = self._plan.grid.core(unit.row, unit.col)
        return f"{name}, tile at row {core.top}, column {core.left}"
