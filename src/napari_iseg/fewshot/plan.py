"""What there is to do: from supports, planes and tiles to jobs in their order."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import cast

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError
from napari_iseg.fewshot.areas import Areas, meets
from napari_iseg.fewshot.chains import chained
from napari_iseg.fewshot.frame import Frame, Grid, Plane
from napari_iseg.fewshot.jobs import Job, Unit
from napari_iseg.fewshot.pixels import sample_of
from napari_iseg.fewshot.support_store import SupportRef
from napari_iseg.prompts import Window

MOST_SUPPORTS = 16  # per unit: the cost stays flat as a project grows

_ANSWERS = 3  # raised when the same inputs give other labels, so that a resumed run makes what it has anew


@dataclass(frozen=True, slots=True)
class Rules:
    """What, besides the supports, the answers depend on.

    Attributes
    ----------
    identity : of the predictor
    image : fingerprint of the image's shape, type and stretch
    labels : ids looked for, ascending
    mode : "independent" or "sequential"
    on_grid : whether a unit wants supports cut to its own window (methods that copy masks)
    spacing : of the frame: distances between slices are part of the answers
    """

    identity: str
    image: str
    labels: tuple[int, ...]
    mode: str = "independent"
    on_grid: bool = False
    spacing: tuple[float, ...] = ()


class Plan:
    """Jobs in their order, and the blocks of the output that wait for them.

    Attributes
    ----------
    frame, grid, rules, region : as given
    annotated : the supports as given
    supports : by key, without clicks where the image has no value
    jobs : by name, parents before children, else nearest to a support first
    blocks : the units whose cores are written: those of ``planes`` that touch ``region``
    """

    def __init__(
        self,
        frame: Frame,
        grid: Grid,
        rules: Rules,
        supports: Sequence[SupportRef],
        planes: Iterable[Plane],
        region: Window | Areas | None = None,
    ) -> None:
        self.frame, self.grid, self.rules, self.region = frame, grid, rules, region
        self.annotated = tuple(supports)
        self._refs = [ref for ref in supports if ref.learnt or ref.origin != "clicked"]
        self.supports: dict[str, SupportRef] = {ref.key: ref for ref in self._refs}
        self._on_plane: dict[Plane, list[SupportRef]] = {}
        for ref in self._refs:
            self._on_plane.setdefault(ref.plane, []).append(ref)
        self._centres = np.array([frame.centre(ref.plane, ref.window) for ref in self._refs])
        asked = sorted(set(planes))
        tiles = [tile for tile in grid.tiles() if meets(region, grid.core(*tile))]
        self.blocks: tuple[Unit, ...] = tuple(Unit(p, *tile) for p in asked for tile in tiles)
        self.jobs: dict[str, Job] = {}
        if rules.mode == "sequential":
            for unit, stage, parents, weights in chained(frame, grid, self._refs, asked):
                self._add(unit, stage, parents, weights)
        else:
            near = dict.fromkeys(around for tile in tiles for around in grid.neighbours(*tile))
            for plane in asked:
                for tile in sorted(near):
                    self._add(Unit(plane, *tile), "final", (), ())
        self._sort()

    def finals(self, unit: Unit) -> list[Job]:
        """The final jobs whose windows reach into a unit's core, in the order of blending."""
        return [self.jobs[Unit(unit.plane, *tile).name] for tile in self.grid.neighbours(unit.row, unit.col)]

    def overrides(self, unit: Unit) -> list[SupportRef]:
        """Supports that know pixels of a unit's core; they are never overwritten."""
        core = self.grid.core(unit.row, unit.col)
        return [ref for ref in self._on_plane.get(unit.plane, ()) if meets(ref.window, core)]

    def inside(self, unit: Unit) -> npt.NDArray[np.bool_] | None:
        """Which pixels of a unit's core are written: those in the polygons of the region; None: all."""
        if not isinstance(self.region, Areas):
            return None
        mask = self.region.mask(self.grid.core(unit.row, unit.col))
        return None if mask.all() else mask

    def block_digest(self, unit: Unit) -> str:
        """Of everything that a block of the output depends on."""
        return _digest(
            [job.digest for job in self.finals(unit)],
            [(ref.key, ref.version) for ref in self.overrides(unit)],
            *([] if self.inside(unit) is None else [cast("Areas", self.region).digest]),
        )

    def _add(self, unit: Unit, stage: str, parents: tuple[str, ...], weights: tuple[float, ...]) -> None:
        window = self.grid.window(unit.row, unit.col)
        fixed = self._fixed(unit)
        chosen, distance = self._choose(unit)
        used = [self.supports[key] for key in ((fixed,) if fixed else chosen)]
        rules = self.rules
        digest = _digest(
            [_ANSWERS, rules.identity, rules.image, list(rules.labels), list(rules.spacing), stage],
            [*unit.plane, window.top, window.left, window.bottom, window.right],
            [(ref.key, ref.version) for ref in used],
            [(self.jobs[name].digest, weight) for name, weight in zip(parents, weights, strict=True)],
        )
        name = unit.name if stage == "final" else f"{unit.name}-{stage}"
        position = self.frame.position(unit.plane)
        keys = tuple(ref.key for ref in used)
        place, counts = (*unit.plane, unit.row, unit.col), (*self.frame.leading_shape, *self.grid.count)
        self.jobs[name] = Job(
            name=name,
            unit=unit,
            stage=stage,
            window=window,
            position=position,
            supports=keys,
            parents=parents,
            weights=weights,
            fixed=fixed,
            digest=digest,
            distance=distance,
            sample=sample_of(window, place, counts),
            core=self.grid.core(unit.row, unit.col),
        )

    def _fixed(self, unit: Unit) -> str:
        """The support that is the answer: one that knows every pixel of the unit's window."""
        window = self.grid.window(unit.row, unit.col)
        for ref in self._on_plane.get(unit.plane, ()):
            known = ref.whole or (self.rules.on_grid and ref.origin != "clicked")
            if known and ref.window == window:
                return ref.key
        return ""

    def _choose(self, unit: Unit) -> tuple[tuple[str, ...], float]:
        """Keys of the nearest supports, at least one per label and for background; distance of the first."""
        window = self.grid.window(unit.row, unit.col)
        here = np.array(self.frame.centre(unit.plane, window))
        away = np.linalg.norm(self._centres - here, axis=1)
        order = sorted(range(len(away)), key=lambda i: (away[i], i))
        if self.rules.on_grid:
            order = [i for i in order if self._refs[i].window == window]
            if not order:
                raise InputError(
                    "A method that copies masks needs annotated slices of the same stack; choose another "
                    "model for a scene."
                )
        else:  # paint where the image has no value stays as it is, but nothing is learnt from it
            order = [i for i in order if self._refs[i].learnt]
        chosen = order[:MOST_SUPPORTS]
        seen = {label for i in chosen for label in self._refs[i].learnt}
        for i in order[MOST_SUPPORTS:]:
            if not seen.issuperset(self._refs[i].learnt):
                chosen.append(i)
                seen.update(self._refs[i].learnt)
        return tuple(self._refs[i].key for i in sorted(chosen)), float(away[order[0]])

    def _sort(self) -> None:
        """Nearest first; a child never before its parents, whose distance may be larger by a tile."""
        rank: dict[str, float] = {}
        for name, job in self.jobs.items():
            rank[name] = max([job.distance, *(rank[parent] for parent in job.parents)])
        place = {name: number for number, name in enumerate(self.jobs)}
        names: Iterable[str] = sorted(self.jobs, key=lambda name: (rank[name], place[name]))
        if self.rules.mode == "independent" and self.grid.count != (1, 1):
            # block by block: one is written once all windows that reach into it are done
            blocks = sorted(self.blocks, key=lambda unit: (rank[unit.name], place[unit.name]))
            names = dict.fromkeys(job.name for unit in blocks for job in self.finals(unit))
        self.jobs = {name: self.jobs[name] for name in names}


def groups(plan: Plan, batch: int) -> list[tuple[str, ...]]:
    """Jobs that are computed at once: at most ``batch``, neighbours in the order with the same supports.

    Fixed by the plan alone, since the last bits of a batch may depend on its size: a resumed run computes the
    same batches.
    """
    found: list[list[Job]] = []
    for job in plan.jobs.values():
        last = found[-1] if found else []
        alike = bool(last) and _alike(last[0], job)
        if alike and len(last) < batch:
            last.append(job)
        else:
            found.append([job])
    return [tuple(job.name for job in jobs) for jobs in found]


def children(jobs: Mapping[str, Job]) -> dict[str, list[str]]:
    """For every job the jobs that read its draft."""
    found: dict[str, list[str]] = {name: [] for name in jobs}
    for job in jobs.values():
        for parent in job.parents:
            found[parent].append(job.name)
    return found


def _alike(one: Job, other: Job) -> bool:
    free = not (one.parents or other.parents or one.fixed or other.fixed)
    return free and one.supports == other.supports and one.window.shape == other.window.shape


def _digest(*parts: object) -> str:
    text = json.dumps(parts, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=12).hexdigest()
