"""Results of a click evaluation: per object, and the published summaries over objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

THRESHOLDS = (0.80, 0.85, 0.90, 0.95)
SCALE_BOUNDS = (1 / 16, 1 / 8, 1 / 4, 1 / 2)


@dataclass(frozen=True)
class ObjectResult:
    """One object: ``ious[k - 1]`` is the IoU after click k, ``seconds`` the time in the method."""

    image: str
    label: int
    area: int
    relative_side: float  # side of a square of the object's area, over that of the image's area
    ious: tuple[float, ...]
    seconds: float


@dataclass(frozen=True)
class Report:
    """The evaluation of one method on one data set.

    ``max_clicks``, ``target_iou`` and ``stop_at_target`` are the protocol; ``wall_seconds`` is the whole
    loop with the reading of images; ``run`` is what was run on what, see `how_run.how_run`.
    """

    method: str
    dataset: str
    objects: tuple[ObjectResult, ...]
    max_clicks: int = 20
    target_iou: float = 0.95
    stop_at_target: bool = True
    wall_seconds: float = 0.0
    scale_bounds: tuple[float, ...] = SCALE_BOUNDS
    run: Mapping[str, Any] = field(default_factory=dict)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The IoU thresholds that this run can tell about."""
        return tuple(t for t in THRESHOLDS if not self.stop_at_target or t <= self.target_iou)

    def noc(self, threshold: float) -> float:
        """Mean number of clicks to ``threshold``; an object that never reaches it counts ``max_clicks``."""
        return _mean([clicks_to(o.ious, threshold, self.max_clicks) for o in self.objects])

    def failures(self, threshold: float) -> int:
        """Objects that count ``max_clicks``; as published also those that get there with the last click."""
        return sum(clicks_to(o.ious, threshold, self.max_clicks) == self.max_clicks for o in self.objects)

    def curve(self) -> npt.NDArray[np.float64]:
        """(max_clicks,) mean IoU after each click; a stopped object keeps its last IoU, as published."""
        if not self.objects:
            return np.full(self.max_clicks, np.nan)
        curves = np.stack([_extended(o.ious, self.max_clicks) for o in self.objects])
        return np.asarray(curves.mean(0), np.float64)

    def iou_at(self, click: int) -> float:
        """Mean IoU after ``click`` clicks (from 1)."""
        return float(self.curve()[min(click, self.max_clicks) - 1])

    def largest_drop(self) -> float:
        """By how much the mean IoU falls at most from one click to the next; 0 when it never does."""
        return float(max(0.0, *-np.diff(self.curve()))) if self.max_clicks > 1 else 0.0

    @property
    def clicks(self) -> int:
        """Clicks made in all."""
        return sum(len(o.ious) for o in self.objects)

    @property
    def seconds_per_click(self) -> float:
        """Wall time of the whole loop over all clicks, as published (with image reading and simulation)."""
        return self.wall_seconds / self.clicks if self.clicks else float("nan")

    @property
    def seconds_per_object(self) -> float:
        """Wall time of the whole loop over all objects."""
        return self.wall_seconds / len(self.objects) if self.objects else float("nan")

    @property
    def prediction_seconds_per_click(self) -> float:
        """Time in the method alone, per click."""
        return sum(o.seconds for o in self.objects) / self.clicks if self.clicks else float("nan")

    def by_scale(self) -> list[dict[str, Any]]:
        """Results by relative object side: bounds ``from`` and ``to``, object count, NoC and mean IoU."""
        edges = (0.0, *self.scale_bounds, 1.0)
        bins = []
        for low, high in pairwise(edges):
            part = replace(self, objects=tuple(o for o in self.objects if low < o.relative_side <= high))
            scores = part.scores() if part.objects else {}
            bins.append({"from": low, "to": high, "objects": len(part.objects), **scores})
        return bins

    def scores(self) -> dict[str, Any]:
        """NoC and failures per threshold and IoU at 1, 3, 5, 10 and the last click, by name."""
        shown = sorted({k for k in (1, 3, 5, 10, self.max_clicks) if k <= self.max_clicks})
        return {
            "noc": {f"{t:.2f}": self.noc(t) for t in self.thresholds},
            "failures": {f"{t:.2f}": self.failures(t) for t in self.thresholds},
            "iou": {str(k): self.iou_at(k) for k in shown},
        }

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values for JSON, per-object results included."""
        return {
            "method": self.method,
            "dataset": self.dataset,
            "protocol": {
                "max_clicks": self.max_clicks,
                "target_iou": self.target_iou,
                "stop_at_target": self.stop_at_target,
                "scale_bounds": list(self.scale_bounds),
                **self.run,
            },
            "object_count": len(self.objects),
            "click_count": self.clicks,
            **self.scores(),
            "curve": self.curve().tolist(),
            "largest_drop": self.largest_drop(),
            "seconds_per_click": self.seconds_per_click,
            "seconds_per_object": self.seconds_per_object,
            "prediction_seconds_per_click": self.prediction_seconds_per_click,
            "by_scale": self.by_scale(),
            "objects": [asdict(o) for o in self.objects],
        }

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Report:
        """The report that `to_dict` described; figures are computed anew from the objects."""
        protocol = dict(table["protocol"])
        objects = tuple(ObjectResult(**{**o, "ious": tuple(o["ious"])}) for o in table["objects"])
        return cls(
            table["method"],
            table["dataset"],
            objects,
            protocol.pop("max_clicks"),
            protocol.pop("target_iou"),
            protocol.pop("stop_at_target"),
            table["seconds_per_object"] * len(objects) if objects else 0.0,
            tuple(protocol.pop("scale_bounds")),
            run=protocol,
        )


def clicks_to(ious: Sequence[float], threshold: float, max_clicks: int) -> int:
    """The first click with an IoU of at least ``threshold``, or ``max_clicks``."""
    return next((k for k, iou in enumerate(ious, 1) if iou >= threshold), max_clicks)


def iou(mask: npt.NDArray[np.bool_], truth: npt.NDArray[np.int8]) -> float:
    """IoU of a mask with the pixels of ``truth`` that are 1, over pixels that are not -1; (H, W) both."""
    inside = truth == 1
    common = np.count_nonzero(mask & inside)
    union = np.count_nonzero((mask | inside) & (truth != -1))
    return common / union if union else 1.0


def _extended(ious: Sequence[float], length: int) -> npt.NDArray[np.float64]:
    values = np.asarray(ious, np.float64)
    return np.concatenate([values, np.full(length - len(values), values[-1] if len(values) else 0.0)])


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
