"""Dice over a volume against the share of slices that are annotated."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError
from napari_iseg.evaluation.datasets import Dataset
from napari_iseg.evaluation.fewshot_metrics import dice, mean_or_nan
from napari_iseg.evaluation.methods import as_source
from napari_iseg.fewshot.adapter import ModelPredictor
from napari_iseg.fewshot.base import FewShotModel, Support, UnitPredictor
from napari_iseg.fewshot.feature_cache import FeatureCache
from napari_iseg.prompts import Window

SHARES = (0.01, 0.02, 0.05, 0.1)
OnSlice = Callable[[int, int], object]


@dataclass(frozen=True, eq=False)
class Volume:
    """Slices of one volume and what is asked for in them.

    Parameters
    ----------
    images : (Z, H, W, 3) float32 in [0, 1]
    labels : (Z, H, W) int32 holding ``wanted`` ids and 0
    """

    name: str
    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]
    wanted: tuple[int, ...]


@dataclass
class VolumeReport:
    """Dice of one method on one volume: share of annotated slices -> mean over labels, and per label."""

    method: str
    dataset: str
    slices: int
    labels: tuple[int, ...]
    dice: dict[float, float] = field(default_factory=dict)
    annotated: dict[float, int] = field(default_factory=dict)
    by_label: dict[float, dict[int, float]] = field(default_factory=dict)
    trust: dict[float, float] = field(default_factory=dict)
    seconds: float = float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dict(self.__dict__)


def volumes_of(dataset: Dataset, *, objects: int = 4, least: float = 0.3) -> list[Volume]:
    """The volumes of a data set (opened with ``components=False`` where bodies keep their ids).

    Parameters
    ----------
    objects : at most so many of the largest bodies; of a semantic volume its classes
    least : a body must be in at least this share of the slices

    Raises
    ------
    InputError
        When no volume has such a body.
    """
    groups: dict[str, list[int]] = {}
    for index, item in enumerate(dataset):
        if item.position is not None:
            groups.setdefault(item.group, []).append(index)
    made = []
    for name, indices in groups.items():
        labels = np.stack([dataset[i].labels() for i in indices])
        values, counts = np.unique(labels, return_counts=True)
        order = [int(v) for v in values[np.argsort(-counts, kind="stable")] if v > 0]
        if dataset.kind == "instances":
            order = [v for v in order if (labels == v).any((1, 2)).mean() >= least]
        wanted = tuple(sorted(order[:objects]))
        if wanted:
            source = [as_source(dataset[i].image()) for i in indices]
            images = np.stack([s.read(Window.of_shape(s.shape)) for s in source])
            kept = np.where(np.isin(labels, wanted), labels, 0).astype(np.int32)
            made.append(Volume(name, images, kept, wanted))
    if not made:
        raise InputError(f"The data set {dataset.name} has no volume with a body in enough slices.")
    return made


def annotated_slices(volume: Volume, share: float) -> list[int]:
    """Evenly spread slices, at least one; where none of them holds a label the fullest replaces one."""
    depth = len(volume.labels)
    count = max(1, round(share * depth))
    chosen = [int((i + 0.5) * depth / count) for i in range(count)]
    if not any(volume.labels[z].any() for z in chosen):
        fullest = int((volume.labels > 0).sum((1, 2)).argmax())
        chosen[int(np.argmin([abs(z - fullest) for z in chosen]))] = fullest
    return sorted(set(chosen))


def evaluate_volume(
    model: FewShotModel | UnitPredictor,
    volume: Volume,
    *,
    name: str,
    shares: Sequence[float] = SHARES,
    max_queries: int | None = None,
    on_slice: OnSlice | None = None,
) -> VolumeReport:
    """Annotate some slices truly, predict the others, score those.

    Parameters
    ----------
    max_queries : predict at most so many slices, evenly spread; None: all
    """
    predictor = _predictor(model)
    report = VolumeReport(name, volume.name, len(volume.labels), volume.wanted)
    started, done = time.perf_counter(), 0
    for share in shares:
        chosen = annotated_slices(volume, share)
        supports = [
            Support(f"{z}", volume.images[z], volume.labels[z], (), (float(z),), True, 0, True)
            for z in chosen
        ]
        labels = sorted({label for s in supports for label in s.labels})
        asked = [z for z in range(len(volume.labels)) if z not in chosen]
        if max_queries is not None and len(asked) > max_queries:
            asked = [asked[int(i)] for i in np.linspace(0, len(asked) - 1, max_queries).round()]
        counts, trusts = {label: [0, 0, 0] for label in volume.wanted}, []
        for number, z in enumerate(asked):
            answer = predictor.predict_unit(volume.images[z], (float(z),), supports, labels)
            mask = answer.mask(labels)
            trusts.append(answer.trust)
            for label, sums in counts.items():
                here, there = mask == label, volume.labels[z] == label
                sums[0] += int((here & there).sum())
                sums[1] += int(here.sum())
                sums[2] += int(there.sum())
            done += 1
            if on_slice is not None:
                on_slice(number + 1, len(asked))
        report.by_label[share] = {label: dice(a, b, c) for label, (a, b, c) in counts.items()}
        report.dice[share] = mean_or_nan(list(report.by_label[share].values()))
        report.annotated[share] = len(chosen)
        report.trust[share] = mean_or_nan(trusts)
    report.seconds = (time.perf_counter() - started) / max(done, 1)
    return report


def _predictor(model: FewShotModel | UnitPredictor) -> UnitPredictor:
    if hasattr(model, "predict_unit"):
        return model  # type: ignore[return-value]
    return ModelPredictor(model, FeatureCache(2**30))  # type: ignore[arg-type]
