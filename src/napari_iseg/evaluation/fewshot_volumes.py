"""Dice over a volume or a scene against the share of slices or tiles that are annotated."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from napari_iseg.evaluation.fewshot_metrics import dice, mean_or_nan
from napari_iseg.evaluation.fewshot_stacks import Stack
from napari_iseg.evaluation.fewshot_user import clicked_support
from napari_iseg.fewshot.adapter import ModelPredictor
from napari_iseg.fewshot.base import UNKNOWN, FewShotModel, Position, Support, UnitPredictor
from napari_iseg.fewshot.feature_cache import FeatureCache

if TYPE_CHECKING:
    from napari_iseg.fewshot.two_stage import TwoStage

SHARES = (0.01, 0.02, 0.05, 0.1)
CLICKS = 5
OnSlice = Callable[[int, int], object]
_CACHE = 2**30
_MOST_QUERIES = 24


@dataclass
class VolumeReport:
    """Dice of one method on one volume or scene: share of annotated planes -> mean over labels.

    Attributes
    ----------
    slices : planes, or tiles where ``scene``
    dice, by_label : with true masks on the annotated planes; empty for a method that does not use them
    clicked : with at most ``CLICKS`` clicks per label on each annotated plane instead
    annotated : share -> number of annotated planes
    trust : mean of the predictions from true masks; seconds : per prediction, features included
    """

    method: str
    dataset: str
    slices: int
    labels: tuple[int, ...]
    scene: bool = False
    dice: dict[float, float] = field(default_factory=dict)
    clicked: dict[float, float] = field(default_factory=dict)
    annotated: dict[float, int] = field(default_factory=dict)
    by_label: dict[float, dict[int, float]] = field(default_factory=dict)
    trust: dict[float, float] = field(default_factory=dict)
    seconds: float = float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dict(self.__dict__)


def evaluate_volume(
    model: FewShotModel | UnitPredictor,
    stack: Stack,
    *,
    name: str,
    shares: Sequence[float] = SHARES,
    painted: bool = True,
    clicks: int = CLICKS,
    draws: int = 1,
    clicker: TwoStage | None = None,
    max_queries: int | None = _MOST_QUERIES,
    on_slice: OnSlice | None = None,
) -> VolumeReport:
    """Annotate some planes, predict others, score those.

    Parameters
    ----------
    painted : annotate by true masks; ``clicks`` per label : annotate by clicks too, 0 leaves that out
    draws : so many choices of annotated planes; scores are means over them
    clicker : makes masks of clicks for a method that copies masks; None leaves clicks out for such a method
    max_queries : predict at most so many planes, evenly spread; None: all
    on_slice : told the number of predictions done and in all
    """
    return _Evaluation(model, stack, name, clicker, max_queries, on_slice).run(shares, painted, clicks, draws)


class _Evaluation:
    """One method on one stack: planes are encoded once, equal annotations are evaluated once."""

    def __init__(
        self,
        model: FewShotModel | UnitPredictor,
        stack: Stack,
        name: str,
        clicker: TwoStage | None,
        max_queries: int | None,
        on_slice: OnSlice | None,
    ) -> None:
        self.stack, self.max_queries, self.on_slice = stack, max_queries, on_slice
        self.copies = hasattr(model, "predict_unit")
        self.cache = FeatureCache(_CACHE)
        self.model = clicker if self.copies else cast(FewShotModel, model)
        self.predictor = (
            cast(UnitPredictor, model)
            if self.copies
            else ModelPredictor(cast(FewShotModel, model), self.cache)
        )
        self.report = VolumeReport(name, stack.name, len(stack), stack.wanted, stack.scene)
        self.supports: dict[tuple[int, int], Support] = {}
        self.done, self.total = 0, 0

    def run(self, shares: Sequence[float], painted: bool, clicks: int, draws: int) -> VolumeReport:
        report, stack = self.report, self.stack
        chosen = {
            share: sorted({tuple(stack.annotated(share, draw)) for draw in range(draws)}) for share in shares
        }
        ways = ((0,) if painted else ()) + ((clicks,) if clicks and self.model else ())
        every = {planes for drawn in chosen.values() for planes in drawn}
        self.total = sum(len(self._asked(planes)) for planes in every) * len(ways)
        started = time.perf_counter()
        for way in ways:
            known: dict[tuple[int, ...], tuple[dict[int, float], float]] = {}
            for share, drawn in chosen.items():
                report.annotated[share] = len(drawn[0])
                for planes in drawn:
                    if planes not in known:
                        known[planes] = self._scores(planes, way)
                found = [known[planes] for planes in drawn]
                scores = {label: mean_or_nan([s[label] for s, _ in found]) for label in stack.wanted}
                trust = mean_or_nan([t for _, t in found])
                if way:
                    report.clicked[share] = mean_or_nan(list(scores.values()))
                else:
                    report.by_label[share], report.trust[share] = scores, trust
                    report.dice[share] = mean_or_nan(list(scores.values()))
        report.seconds = (time.perf_counter() - started) / max(self.done, 1)
        return report

    def _asked(self, planes: Sequence[int]) -> list[int]:
        asked = [z for z in range(len(self.stack)) if z not in planes]
        if self.max_queries is not None and len(asked) > self.max_queries:
            asked = [asked[int(i)] for i in np.linspace(0, len(asked) - 1, self.max_queries).round()]
        return asked

    def _scores(self, planes: Sequence[int], clicks: int) -> tuple[dict[int, float], float]:
        """Dice per label over the planes asked for, and their mean trust."""
        stack = self.stack
        supports = [self._support(z, clicks) for z in planes]
        labels = sorted({label for s in supports for label in s.labels})
        counts, trusts = {label: [0, 0, 0] for label in stack.wanted}, []
        for z in self._asked(planes):
            self.done += 1
            mask = np.zeros(stack.labels[z].shape, np.int32)
            if labels:
                answer = self.predictor.predict_unit(stack.images[z], self._place(z), supports, labels)
                mask = answer.mask(labels)
                trusts.append(answer.trust)
            mask[stack.labels[z] == UNKNOWN] = UNKNOWN
            for label, sums in counts.items():
                here, there = mask == label, stack.labels[z] == label
                sums[0] += int((here & there).sum())
                sums[1] += int(here.sum())
                sums[2] += int(there.sum())
            if self.on_slice is not None:
                self.on_slice(self.done, self.total)
        return {label: dice(a, b, c) for label, (a, b, c) in counts.items()}, mean_or_nan(trusts)

    def _support(self, z: int, clicks: int) -> Support:
        """The annotation of a plane, made once: it is the same however many others are annotated."""
        if (z, clicks) not in self.supports:
            self.supports[z, clicks] = self._clicked(z, clicks) if clicks else self._painted(z)
        return self.supports[z, clicks]

    def _painted(self, z: int) -> Support:
        stack = self.stack
        whole = not stack.scene
        return Support(f"painted-{z}", stack.images[z], stack.labels[z], (), self._place(z), True, 0, whole)

    def _clicked(self, z: int, clicks: int) -> Support:
        stack, model = self.stack, self.model
        assert model is not None, "clicks are made on a model's masks"
        image = stack.images[z]
        made = clicked_support(
            model,
            self.cache.get(model, image),
            image,
            stack.labels[z],
            stack.wanted,
            clicks,
            key=f"clicked-{z}",
            position=self._place(z),
            whole=not stack.scene,
        )
        return cast("TwoStage", model).masked(made, stack.wanted) if self.copies else made

    def _place(self, z: int) -> Position:
        """In a scene only methods that copy masks are told where a tile lies, to copy from the nearest."""
        return self.stack.positions[z] if self.copies or not self.stack.scene else ()
