"""Fine masks on a data set: DIS metrics of a first stage and of what refinement makes of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError
from napari_iseg.evaluation.boxes import box_of
from napari_iseg.evaluation.clicks import ClickSimulator
from napari_iseg.evaluation.coarse import degraded
from napari_iseg.evaluation.datasets import Dataset
from napari_iseg.evaluation.dis_metrics import DisScores, dis_scores
from napari_iseg.evaluation.how_run import how_refined, how_run
from napari_iseg.evaluation.methods import ClickMethod, ModelMethod, as_source, check_method, mask_of
from napari_iseg.evaluation.protocol import choose_objects
from napari_iseg.interactive.edges import Refiner, refine_edges
from napari_iseg.prompts import Box, Window

Truth = npt.NDArray[np.int8]
COLUMNS = ("maxF", "wF", "MAE", "S", "meanE", "IoU", "bIoU", "HCE")


class FirstStage(Protocol):
    """What gives the coarse mask of an object."""

    name: str

    def mask(self, image: npt.NDArray[Any], truth: Truth, index: int) -> npt.NDArray[np.bool_]:
        """(H, W) bool from the image, knowing the truth as a person does; ``index`` counts the objects."""

    def drawn(self, truth: Truth) -> Box | None:
        """The box that was drawn for that mask, which refinement is given too."""


class DegradedTruth:
    """The truth made coarse, the same for all methods; shows what refinement is worth by itself."""

    name = "degraded truth"

    def __init__(self, seed: int = 0, strength: float = 1.0) -> None:
        self.seed, self.strength = seed, strength

    def mask(self, image: npt.NDArray[Any], truth: Truth, index: int) -> npt.NDArray[np.bool_]:
        """See `FirstStage`."""
        del image
        return degraded(truth == 1, np.random.default_rng((self.seed, index)), self.strength)

    def drawn(self, truth: Truth) -> None:
        """None: the box around the mask is taken."""


class ClickedMask:
    """A click method after a number of simulated clicks."""

    def __init__(self, method: ClickMethod, clicks: int = 1) -> None:
        check_method(method)
        self.method = method
        self.clicks = clicks
        self.name = f"{method.name}, {clicks} click{'s' if clicks > 1 else ''}"

    def mask(self, image: npt.NDArray[Any], truth: Truth, index: int) -> npt.NDArray[np.bool_]:
        """See `FirstStage`."""
        del index
        simulator, mask = ClickSimulator(truth), np.zeros(truth.shape, np.bool_)
        self.method.start(image)
        for _ in range(self.clicks):
            click = simulator.next(mask)
            found = self.method.click(click.row, click.col, click.positive)
            mask = mask_of(found, self.method, truth.shape)
        return mask

    def drawn(self, truth: Truth) -> None:
        """None: the box around the mask is taken."""


class BoxedMask:
    """A model that takes boxes, given the true one."""

    def __init__(self, method: ModelMethod) -> None:
        self.method = method
        self.name = f"{method.name}, box"

    def mask(self, image: npt.NDArray[Any], truth: Truth, index: int) -> npt.NDArray[np.bool_]:
        """See `FirstStage`."""
        del index
        self.method.start(image)
        return np.asarray(self.method.box(self.drawn(truth)) > self.method.threshold)

    def drawn(self, truth: Truth) -> Box:
        """The true box."""
        return box_of(truth == 1)


@dataclass(frozen=True)
class DisReport:
    """Scores of one method on one data set.

    ``failures`` counts objects that refinement gave up; ``run`` is what was run on what, see `how_run`.
    """

    method: str
    dataset: str
    scores: tuple[DisScores, ...]
    seconds: float
    failures: int = 0
    run: Mapping[str, Any] = field(default_factory=dict)

    def values(self) -> dict[str, float]:
        """The columns by name: curves are averaged over objects before their maximum, the rest are means."""
        singles = ("weighted_f", "mae", "s_measure", "iou", "boundary_iou", "hce")
        mean = {name: float(np.mean([getattr(s, name) for s in self.scores])) for name in singles}
        max_f = float(np.mean([s.f_curve for s in self.scores], axis=0).max())
        mean_e = float(np.mean([s.e_curve for s in self.scores]))
        ordered = [max_f, mean["weighted_f"], mean["mae"], mean["s_measure"], mean_e]
        ordered += [mean["iou"], mean["boundary_iou"], mean["hce"]]
        return dict(zip(COLUMNS, ordered, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "method": self.method,
            "dataset": self.dataset,
            "objects": len(self.scores),
            "seconds_per_object": self.seconds / max(1, len(self.scores)),
            "failures": self.failures,
            "protocol": dict(self.run),
            **self.values(),
        }


def evaluate_dis(
    first: FirstStage,
    dataset: Dataset,
    refiner: Refiner | None = None,
    *,
    refiner_name: str = "refined",
    max_objects: int | None = None,
    seed: int = 0,
    with_hce: bool = True,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[DisReport]:
    """Reports of the first stage and, with a refiner, of its refined masks, on the same objects.

    Where refinement gives up (it lost the object, or the coarse mask is empty) the coarse mask counts.

    Raises
    ------
    InputError
        When the data set holds no objects, or OpenCV is missing for HCE.
    """
    chosen = choose_objects(dataset, None, max_objects, seed)
    total = sum(len(ids) for ids in chosen.values())
    if not total:
        raise InputError(f"The data set {dataset.name} has no object of at least {dataset.min_area} pixels.")
    coarse: list[DisScores] = []
    fine: list[DisScores] = []
    times, failures = [0.0, 0.0], 0
    for index, ids in chosen.items():
        item = dataset[index]
        image, labels = item.image(), item.labels()
        rgb = as_source(image).read(Window.of_shape((labels.shape[0], labels.shape[1])))
        for label in ids:
            truth = item.truth(label, labels)
            started = time.perf_counter()
            mask = first.mask(image, truth, len(coarse))
            times[0] += time.perf_counter() - started
            coarse.append(_scored(mask, truth, with_hce))
            if refiner is not None:
                started = time.perf_counter()
                try:
                    mask = refine_edges(rgb, mask, refiner, first.drawn(truth))
                except InputError:
                    failures += 1
                times[1] += time.perf_counter() - started
                fine.append(_scored(mask, truth, with_hce))
            if on_progress is not None:
                on_progress(len(coarse), total)
    run = how_run(getattr(first, "method", None), dataset, max_objects=max_objects, seed=seed)
    reports = [DisReport(first.name, dataset.name, tuple(coarse), times[0], run=run)]
    if refiner is not None:
        name = f"{first.name} + {refiner_name}"
        run = {**run, **how_refined(refiner)}
        reports.append(DisReport(name, dataset.name, tuple(fine), times[1], failures, run))
    return reports


def dis_table(reports: Sequence[DisReport]) -> str:
    """One Markdown row per data set and method."""
    head = ["data set", "method", "objects", *COLUMNS, "s/object"]
    align = ["---", "---", *["---:"] * (len(head) - 2)]
    rows = []
    for report in reports:
        values = report.values()
        numbers = [f"{values[name]:.3f}" for name in COLUMNS[:-1]]
        numbers.append("" if np.isnan(values["HCE"]) else f"{values['HCE']:.1f}")
        per_object = f"{report.seconds / max(1, len(report.scores)):.2f}"
        rows.append([report.dataset, report.method, str(len(report.scores)), *numbers, per_object])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, align, *rows))


def _scored(mask: npt.NDArray[np.bool_], truth: Truth, with_hce: bool) -> DisScores:
    """Scores on the whole picture; ignored pixels are background in both."""
    return dis_scores(mask & (truth != -1), truth == 1, with_hce=with_hce)
