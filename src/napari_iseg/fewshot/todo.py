"""Which jobs a run still needs, in which order they can be done, and when a draft is no longer needed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from napari_iseg.fewshot.frame import Plane
from napari_iseg.fewshot.jobs import Item, Job, Unit
from napari_iseg.fewshot.plan import Plan, children, groups
from napari_iseg.fewshot.record import Record


class Todo:
    """The open part of a plan: what is finished and still valid is not done again.

    Parameters
    ----------
    plan, record : what is wanted, and what there is
    batch : jobs per item
    """

    def __init__(self, plan: Plan, record: Record, batch: int = 1) -> None:
        self._plan, self._record = plan, record
        self._children = children(plan.jobs)
        self.blocks: dict[str, Unit] = {}
        self._digests: dict[str, str] = {}
        for unit in plan.blocks:
            digest = plan.block_digest(unit)
            if not record.is_written(unit.name, digest):
                self.blocks[unit.name] = unit
                self._digests[unit.name] = digest
        self._waiters: dict[str, set[str]] = {}  # job -> blocks that need its draft
        for name, unit in self.blocks.items():
            for job in plan.finals(unit):
                self._waiters.setdefault(job.name, set()).add(name)
        self._have, self._need = self._sort_out(groups(plan, batch))
        self._on_plane: dict[Plane, dict[int, Item]] = {}  # the same items, for the plane in view
        for item in self._need.values():
            self._on_plane.setdefault(item.jobs[0].unit.plane, {})[item.number] = item
        self.total = sum(len(item.jobs) for item in self._need.values())
        self._open = {job.name: item.number for item in self._need.values() for job in item.jobs}

    def digest(self, unit: Unit) -> str:
        """Of a block that is to be written."""
        return self._digests[unit.name]

    def take(self, focus: Plane | None) -> Item | None:
        """The next item whose parents are there: of the plane somebody looks at, else the nearest."""
        seen = self._on_plane.get(focus, {}) if focus is not None else {}
        for item in chain(seen.values(), self._need.values()):
            if self._ready(item):
                self._forget(item)
                return item
        return None

    def put_back(self, item: Item) -> None:
        """An item that is to be tried again, after all others."""
        self._need[item.number] = item
        self._on_plane[item.jobs[0].unit.plane][item.number] = item

    def finished(self, names: Sequence[str]) -> list[Unit]:
        """Jobs are done; answers with the blocks that can be written now."""
        for name in names:
            self._have.add(name)
            self._open.pop(name, None)
        return self._ready_blocks({block for name in names for block in self._waiters.get(name, ())})

    def ready_at_start(self) -> list[Unit]:
        """Blocks that need no more jobs."""
        return self._ready_blocks(set(self.blocks))

    def written(self, unit: Unit) -> None:
        """A block is in the output: drafts that nobody waits for any more are dropped."""
        self.blocks.pop(unit.name, None)
        for job in self._plan.finals(unit):
            self._waiters.get(job.name, set()).discard(unit.name)
            self._drop_unneeded(job)

    def lost(self, names: Sequence[str]) -> list[str]:
        """Jobs were given up; answers with these and all that can no longer be done."""
        gone, stack = [], list(names)
        while stack:
            name = stack.pop()
            if name in gone:
                continue
            gone.append(name)
            number = self._open.pop(name, None)
            if number is not None and number in self._need:
                self._forget(self._need[number])
            stack.extend(child for child in self._children[name] if child in self._open)
        return gone

    def _forget(self, item: Item) -> None:
        del self._need[item.number]
        del self._on_plane[item.jobs[0].unit.plane][item.number]

    def _ready(self, item: Item) -> bool:
        return all(parent in self._have for job in item.jobs for parent in job.parents)

    def _ready_blocks(self, names: set[str]) -> list[Unit]:
        units = [self.blocks[name] for name in names if name in self.blocks]
        return sorted(
            unit for unit in units if all(job.name in self._have for job in self._plan.finals(unit))
        )

    def _drop_unneeded(self, job: Job) -> None:
        """Drop the draft of a job, and of its parents, once no block and no open child wants it."""
        if self._waiters.get(job.name) or any(child in self._open for child in self._children[job.name]):
            return
        self._record.scratch.drop(job.name)
        for parent in job.parents:
            self._drop_unneeded(self._plan.jobs[parent])

    def _sort_out(self, grouped: Sequence[tuple[str, ...]]) -> tuple[set[str], dict[int, Item]]:
        """Names of jobs whose drafts are there, and the items that must be computed.

        A batch is computed whole or not at all: its last bits may depend on its size.
        """
        group_of = {name: number for number, names in enumerate(grouped) for name in names}
        have: set[str] = set()
        chosen: set[int] = set()
        stack = list(self._waiters)
        while stack:
            name = stack.pop()
            if name in have or group_of[name] in chosen:
                continue
            job = self._plan.jobs[name]
            if self._record.result(job) is not None and self._record.scratch.holds(name):
                have.add(name)
                continue
            chosen.add(group_of[name])
            stack.extend(
                parent for other in grouped[group_of[name]] for parent in self._plan.jobs[other].parents
            )
        have -= {name for number in chosen for name in grouped[number]}
        items = {
            number: Item(number, tuple(self._plan.jobs[name] for name in grouped[number]))
            for number in sorted(chosen)
        }
        return have, items
