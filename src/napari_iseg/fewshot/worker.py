"""What a worker process does: read a window, predict it, leave a draft."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from napari_iseg.disk_cache import DiskCache
from napari_iseg.fewshot.base import Image, Prediction, Support, UnitPredictor
from napari_iseg.fewshot.corrections import honest
from napari_iseg.fewshot.guard import MIN_TRUST, areas, jumped
from napari_iseg.fewshot.jobs import Item, Job, Result
from napari_iseg.fewshot.pixels import key_of
from napari_iseg.fewshot.scratch import Draft, Scratch
from napari_iseg.fewshot.support_store import SupportRef, SupportStore
from napari_iseg.images import PlaneSource
from napari_iseg.labels.regions import part_of

Probability = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]


class Seen(NamedTuple):
    """What lies in a job's window: its pixels (None: not looked at), and where it has values (None: all)."""

    image: Image | None = None
    valid: Bool | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is no value at all, so that no label is."""
        return self.has_none(np.s_[:, :])

    def has_none(self, part: tuple[slice, slice]) -> bool:
        """Whether there is no value in a part of the window."""
        return self.valid is not None and not self.valid[part].any()

    def key(self, sample: tuple[slice, slice]) -> str:
        """Of the pixels in a part, as ``Result.pixels`` has it."""
        if self.image is None:
            return ""
        return key_of(self.image[sample], None if self.valid is None else self.valid[sample])


@dataclass(frozen=True)
class Setup:
    """Everything a worker needs; picklable where image and predictor are.

    Attributes
    ----------
    image : opens the image
    predictor : (device, bytes for encoded images) -> the predictor
    labels : ids looked for
    supports : by key
    folder : of the run
    features, support_bytes, ahead : bytes for encoded images, for supports, for images read before their turn
    device : "auto", "cpu", "cuda:0", ...
    threads : of the numeric library while the model is asked; 0: as it likes
    disk : bytes for encoded images in the run's folder; 0: none are kept there
    """

    image: Callable[[], PlaneSource]
    predictor: Callable[[str, int], UnitPredictor]
    labels: tuple[int, ...]
    supports: Mapping[str, SupportRef]
    folder: Path
    features: int
    support_bytes: int
    ahead: int
    device: str = "auto"
    threads: int = 0
    disk: int = 0


class Worker:
    """Image, predictor and supports of one process, made once.

    Parameters
    ----------
    setup : Setup
    predictor : one that is loaded already; None: opened as ``setup`` says
    supports : where they are kept, perhaps still in memory; None: opened anew
    """

    def __init__(
        self, setup: Setup, predictor: UnitPredictor | None = None, supports: SupportStore | None = None
    ) -> None:
        self._setup = setup
        self.source = setup.image()
        self._predictor = predictor or setup.predictor(setup.device, setup.features)
        keep = getattr(self._predictor, "keep_features", None)
        if keep is not None and setup.disk:
            keep(DiskCache(setup.folder / "features", setup.disk))
        self._scratch = Scratch(setup.folder / "drafts")
        self._supports = supports or SupportStore(setup.folder / "supports", setup.support_bytes)
        self._lock = threading.Lock()  # a predictor is not asked by two threads at once

    def read(self, item: Item) -> list[Seen]:
        """What is seen of an item's jobs; safe to call ahead, from any thread."""
        return [self._seen(job) for job in item.jobs]

    def run(self, item: Item, seen: Sequence[Seen]) -> list[Result]:
        """Predict the jobs of an item and leave their drafts."""
        with self._lock, _threads(self._setup.threads):
            if len(item.jobs) > 1:
                return self._batch(item.jobs, seen)
            return [self._one(job, part) for job, part in zip(item.jobs, seen, strict=True)]

    def _seen(self, job: Job) -> Seen:
        if job.fixed:
            return Seen()
        if not self._predictor.needs_image:
            return Seen(None, self.source.valid(job.window, job.unit.plane))
        return Seen(*self.source.look(job.window, job.unit.plane))

    def _one(self, job: Job, seen: Seen) -> Result:
        if job.fixed:
            return self._keep(job, self._fixed(job), 0.0, seen)
        if job.stage != "final":
            return self._step(job, seen)
        if seen.is_empty:
            return self._keep(job, self._nothing(job), 0.0, seen)
        drafts = [self._scratch.read(name) for name in job.parents]
        known = [
            (_within(draft, seen.valid), weight)
            for draft, weight in zip(drafts, job.weights, strict=True)
            if draft is not None and draft.probability is not None
        ]
        if known:
            return self._keep(job, _merged(known), 0.0, seen, drifted=len(known) < len(drafts))
        found, seconds = self._predict(job, seen, None)
        return self._keep(job, found, seconds, seen, drifted=bool(drafts))

    def _step(self, job: Job, seen: Seen) -> Result:
        """One step of a chain: given up where the answer is not trusted or the object jumps in size.

        Where there is no value the answer before is carried on, so that the object is known behind a gap.
        """
        before = self._scratch.read(job.parents[0])
        found, seconds = None, 0.0
        if before is not None and seen.is_empty:
            found = before
        elif before is not None and before.probability is not None:
            found, seconds = self._predict(job, seen, before.with_background())
            found = _within(found, seen.valid, before.probability)
            if found.trust < MIN_TRUST or jumped(before, found):
                found = None
        given_up = found is None or found.probability is None
        if found is None:
            found = Draft(None, 0.0, np.zeros(len(self._setup.labels), np.float32))
        return self._keep(job, found, seconds, seen, drifted=given_up)

    def _predict(self, job: Job, seen: Seen, previous: Probability | None) -> tuple[Draft, float]:
        """The answer, and the seconds in the model."""
        supports = [self._support(key) for key in job.supports]
        labels = self._setup.labels
        start = perf_counter()
        answer = self._predictor.predict_unit(seen.image, job.position, supports, labels, previous)
        return self._draft(job, answer, seen.valid), perf_counter() - start

    def _nothing(self, job: Job) -> Draft:
        """The draft of a window without values, made at once: no label, and no doubt about it."""
        count = len(self._setup.labels)
        return Draft(np.zeros((count, *job.window.shape), np.float32), 1.0, np.zeros(count, np.float32))

    def _draft(self, job: Job, answer: Prediction, valid: Bool | None) -> Draft:
        """The answer without its background, and in agreement with clicks on the very same plane."""
        for key in job.supports:
            ref = self._setup.supports[key]
            if ref.plane == job.unit.plane and ref.origin == "clicked":
                answer = honest(answer, self._support(key), job.window, ref.window, self._setup.labels)
        draft = Draft(answer.probability[1:], float(np.clip(answer.trust, 0, 1)), answer.presence)
        return _within(draft, valid)

    def _batch(self, jobs: Sequence[Job], seen: Sequence[Seen]) -> list[Result]:
        """Independent jobs with the same supports at once, where the predictor offers it."""
        together = getattr(self._predictor, "predict_units", None)
        asked = [(job, part) for job, part in zip(jobs, seen, strict=True) if not part.is_empty]
        if together is None or not asked:
            return [self._one(job, part) for job, part in zip(jobs, seen, strict=True)]
        supports = [self._support(key) for key in jobs[0].supports]
        start = perf_counter()
        images, positions = [part.image for _, part in asked], [job.position for job, _ in asked]
        answers = iter(together(images, positions, supports, self._setup.labels))
        share = (perf_counter() - start) / len(asked)
        return [
            self._keep(job, self._nothing(job), 0.0, part)
            if part.is_empty
            else self._keep(job, self._draft(job, next(answers), part.valid), share, part)
            for job, part in zip(jobs, seen, strict=True)
        ]

    def _fixed(self, job: Job) -> Draft:
        mask = self._supports.read(self._setup.supports[job.fixed], None).mask
        values = np.stack([mask == label for label in self._setup.labels]).astype(np.float32)
        return Draft(values, 1.0, values.reshape(len(values), -1).max(1))

    def _support(self, key: str) -> Support:
        source = self.source if self._predictor.needs_image else None
        return self._supports.read(self._setup.supports[key], source)

    def _keep(self, job: Job, draft: Draft, seconds: float, seen: Seen, *, drifted: bool = False) -> Result:
        """Leave the draft; ``seen`` is what it was made from."""
        self._scratch.write(job.name, draft)
        values = draft.probability
        result = Result(
            name=job.name,
            trust=draft.trust,
            doubt=_doubt(values) if values is not None else 1.0,
            presence=tuple(float(value) for value in draft.presence),
            areas=areas(draft),
            drifted=drifted,
            seconds=seconds,
            pixels=seen.key(part_of(job.sample, job.window)),
            is_empty=seen.has_none(part_of(job.core, job.window)),
        )
        if not result.is_empty:
            return result
        # its window may reach over values, whose doubts are the neighbours'
        return replace(result, trust=1.0, doubt=0.0, presence=(0.0,) * len(draft.presence), drifted=False)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """A block in which torch, where it is loaded, uses so many threads; 0: as it likes.

    The calling thread's number, which another program may have chosen, is put back.
    """
    torch = sys.modules.get("torch") if count else None
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _within(draft: Draft, valid: Bool | None, elsewhere: Probability | None = None) -> Draft:
    """The draft with something else where there is no value; without it no label is there."""
    if valid is None or draft.probability is None:
        return draft
    other = np.float32(0) if elsewhere is None else elsewhere
    return replace(draft, probability=np.where(valid, draft.probability, other))


def _merged(known: Sequence[tuple[Draft, float]]) -> Draft:
    """The answers from both sides by their weights; where they differ, the trust is lower."""
    total = sum(weight for _, weight in known)
    parts = [draft.probability for draft, _ in known if draft.probability is not None]
    probability = np.zeros_like(parts[0])
    for part, (_, weight) in zip(parts, known, strict=True):
        probability += np.float32(weight / total) * part
    trust = sum(draft.trust * weight for draft, weight in known) / total
    presence = np.max([draft.presence for draft, _ in known], axis=0)
    if len(parts) == 2:
        either = float(np.maximum(parts[0], parts[1]).sum())
        trust *= 1 - float(np.abs(parts[0] - parts[1]).sum()) / either if either > 0 else 1.0
    return Draft(probability, trust, presence)


def _doubt(probability: Probability) -> float:
    """Mean entropy, 0 to 1, of the pixels that may be object."""
    whole = np.concatenate([np.clip(1 - probability.sum(0, keepdims=True), 0, 1), probability])
    maybe = whole[0] < 0.95
    if not maybe.any():
        return 0.0
    chosen = np.clip(whole[:, maybe], 1e-6, 1)
    return float(-(chosen * np.log(chosen)).sum(0).mean() / np.log(len(whole)))
