"""What a worker process does: read a window, predict it, leave a draft."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt

from napari_iseg.disk_cache import DiskCache
from napari_iseg.fewshot.base import Image, Prediction, Support, UnitPredictor
from napari_iseg.fewshot.corrections import honest
from napari_iseg.fewshot.feature_cache import content_key
from napari_iseg.fewshot.guard import MIN_TRUST, areas, jumped
from napari_iseg.fewshot.jobs import Item, Job, Result
from napari_iseg.fewshot.scratch import Draft, Scratch
from napari_iseg.fewshot.support_store import SupportRef, SupportStore
from napari_iseg.images import PlaneSource
from napari_iseg.labels.regions import part_of

Probability = npt.NDArray[np.float32]


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
    threads : of the numeric library; 0: as it likes
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
        if setup.threads and "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(setup.threads)
        self._scratch = Scratch(setup.folder / "drafts")
        self._supports = supports or SupportStore(setup.folder / "supports", setup.support_bytes)
        self._lock = threading.Lock()  # a predictor is not asked by two threads at once

    def read(self, item: Item) -> list[Image | None]:
        """The images of an item's jobs; safe to call ahead, from any thread."""
        if not self._predictor.needs_image:
            return [None] * len(item.jobs)
        return [None if job.fixed else self.source.read(job.window, job.unit.plane) for job in item.jobs]

    def run(self, item: Item, images: Sequence[Image | None]) -> list[Result]:
        """Predict the jobs of an item and leave their drafts."""
        with self._lock:
            if len(item.jobs) > 1:
                return self._batch(item.jobs, images)
            return [self._one(job, image) for job, image in zip(item.jobs, images, strict=True)]

    def _one(self, job: Job, image: Image | None) -> Result:
        if job.fixed:
            return self._keep(job, self._fixed(job), 0.0)
        if job.stage != "final":
            return self._step(job, image)
        drafts = [self._scratch.read(name) for name in job.parents]
        known = [
            (draft, weight)
            for draft, weight in zip(drafts, job.weights, strict=True)
            if draft is not None and draft.probability is not None
        ]
        if known:
            return self._keep(job, _merged(known), 0.0, drifted=len(known) < len(drafts))
        found, seconds = self._predict(job, image, None)
        return self._keep(job, found, seconds, image, drifted=bool(drafts))

    def _step(self, job: Job, image: Image | None) -> Result:
        """One step of a chain: given up where the answer is not trusted or the object jumps in size."""
        before = self._scratch.read(job.parents[0])
        found, seconds = None, 0.0
        if before is not None and before.probability is not None:
            found, seconds = self._predict(job, image, before.with_background())
            if found.trust < MIN_TRUST or jumped(before, found):
                found = None
        given_up = found is None
        if found is None:
            found = Draft(None, 0.0, np.zeros(len(self._setup.labels), np.float32))
        return self._keep(job, found, seconds, image, drifted=given_up)

    def _predict(self, job: Job, image: Image | None, previous: Probability | None) -> tuple[Draft, float]:
        """The answer, and the seconds in the model."""
        supports = [self._support(key) for key in job.supports]
        labels = self._setup.labels
        start = perf_counter()
        answer = self._predictor.predict_unit(image, job.position, supports, labels, previous)
        return _draft(self._honest(job, answer)), perf_counter() - start

    def _honest(self, job: Job, answer: Prediction) -> Prediction:
        """The answer, in agreement with clicks on the very same plane."""
        for key in job.supports:
            ref = self._setup.supports[key]
            if ref.plane == job.unit.plane and ref.origin == "clicked":
                answer = honest(answer, self._support(key), job.window, ref.window, self._setup.labels)
        return answer

    def _batch(self, jobs: Sequence[Job], images: Sequence[Image | None]) -> list[Result]:
        """Independent jobs with the same supports at once, where the predictor offers it."""
        together = getattr(self._predictor, "predict_units", None)
        if together is None:
            return [self._one(job, image) for job, image in zip(jobs, images, strict=True)]
        supports = [self._support(key) for key in jobs[0].supports]
        start = perf_counter()
        answers = together(images, [job.position for job in jobs], supports, self._setup.labels)
        share = (perf_counter() - start) / len(jobs)
        return [
            self._keep(job, _draft(self._honest(job, answer)), share, image)
            for job, answer, image in zip(jobs, answers, images, strict=True)
        ]

    def _fixed(self, job: Job) -> Draft:
        mask = self._support(job.fixed).mask
        values = np.stack([mask == label for label in self._setup.labels]).astype(np.float32)
        return Draft(values, 1.0, values.reshape(len(values), -1).max(1))

    def _support(self, key: str) -> Support:
        source = self.source if self._predictor.needs_image else None
        return self._supports.read(self._setup.supports[key], source)

    def _keep(
        self, job: Job, draft: Draft, seconds: float, image: Image | None = None, *, drifted: bool = False
    ) -> Result:
        """Leave the draft; ``image`` is what it was made from."""
        self._scratch.write(job.name, draft)
        values = draft.probability
        return Result(
            name=job.name,
            trust=draft.trust,
            doubt=_doubt(values) if values is not None else 1.0,
            presence=tuple(float(value) for value in draft.presence),
            areas=areas(draft),
            drifted=drifted,
            seconds=seconds,
            pixels="" if image is None else content_key(image[part_of(job.sample, job.window)]),
        )


def _draft(answer: Prediction) -> Draft:
    return Draft(answer.probability[1:], float(np.clip(answer.trust, 0, 1)), answer.presence)


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
