"""Query quality against clicks: a simulated user clicks on supports, queries are never clicked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_iseg.evaluation.clicks import ClickSimulator
from napari_iseg.evaluation.fewshot_cases import Annotated, Case
from napari_iseg.evaluation.fewshot_metrics import Accumulated, area_under, clicks_to_share, mean_or_nan
from napari_iseg.fewshot.base import UNKNOWN, Features, FewShotModel, Support
from napari_iseg.prompts import Click

AT = (1, 2, 3, 5, 10, 20)  # clicks after which queries are asked
BUDGET = 20
OnCase = Callable[[int, int], object]
_LABEL = 1


@dataclass
class QueryReport:
    """One method on one list of cases.

    Attributes
    ----------
    curve, fb_curve : clicks in all on the supports -> mIoU and FB-IoU of the queries
    support_curve : clicks -> mean IoU of the supports themselves
    dense, dense_fb : the same with the supports' true masks
    by_supports : number of supports -> mIoU with ``BUDGET`` clicks split over them
    alarm : share of empty queries with a false alarm, with true masks; class_iou : per category, dense
    seconds : per query, features included; click_seconds : per click on a support
    """

    method: str
    dataset: str
    cases: int
    supports: int
    curve: dict[int, float] = field(default_factory=dict)
    fb_curve: dict[int, float] = field(default_factory=dict)
    support_curve: dict[int, float] = field(default_factory=dict)
    dense: float = float("nan")
    dense_fb: float = float("nan")
    by_supports: dict[int, float] = field(default_factory=dict)
    alarm: float = float("nan")
    class_iou: dict[str, float] = field(default_factory=dict)
    seconds: float = float("nan")
    click_seconds: float = float("nan")

    @property
    def area(self) -> float:
        """Area under ``curve`` over 1 to 20 clicks; NaN without a curve."""
        return area_under(self.curve, BUDGET) if self.curve else float("nan")

    @property
    def ratio(self) -> float:
        """The last point of the curve over the score with true masks."""
        return self.curve[max(self.curve)] / self.dense if self.curve and self.dense > 0 else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = dict(self.__dict__)
        reached = {
            f"clicks_to_{share}": clicks_to_share(self.curve, self.dense, share / 100) for share in (90, 95)
        }
        return {**values, "area": self.area, "ratio_to_dense": self.ratio, **reached}


def evaluate_queries(
    model: FewShotModel,
    cases: Sequence[Case],
    *,
    dataset: str,
    name: str,
    at: Sequence[int] = AT,
    splits: Sequence[int] = (),
    on_case: OnCase | None = None,
) -> QueryReport:
    """Run the protocol of a method on cases.

    Parameters
    ----------
    at : numbers of clicks after which the queries are asked; () leaves the curve out
    splits : numbers of supports over which ``BUDGET`` clicks are split, at most as many as the cases have
    """
    report = QueryReport(name, dataset, len(cases), len(cases[0].supports) if cases else 0)
    dense, curves = Accumulated(), {n: Accumulated() for n in at}
    by_supports = {k: Accumulated() for k in splits if k <= report.supports}
    own: dict[int, list[float]] = {n: [] for n in at}
    query_seconds, click_seconds = [], []
    for index, case in enumerate(cases):
        started = time.perf_counter()
        query = model.encode(case.query.image)
        encoding = time.perf_counter() - started
        features = [model.encode(s.image) for s in case.supports]
        painted = [_painted(i, s) for i, s in enumerate(case.supports)]
        started = time.perf_counter()
        dense.add(case.category, _query(model, painted, features, query), case.query.truth)
        query_seconds.append(encoding + time.perf_counter() - started)
        if at:
            user = SupportUser(model, case.supports, features)
            for n in range(1, max(at) + 1):
                click_seconds.append(user.click())
                if n in curves:
                    mask = _query(model, user.supports, features, query)
                    curves[n].add(case.category, mask, case.query.truth)
                    own[n].append(user.iou())
        for k, accumulated in by_supports.items():
            user = SupportUser(model, case.supports[:k], features[:k])
            for _ in range(BUDGET):
                user.click()
            mask = _query(model, user.supports, features[:k], query)
            accumulated.add(case.category, mask, case.query.truth)
        if on_case is not None:
            on_case(index + 1, len(cases))
    report.dense, report.dense_fb, report.alarm = dense.miou, dense.fb_iou, dense.alarm
    report.class_iou = dense.class_iou
    report.curve = {n: found.miou for n, found in curves.items()}
    report.fb_curve = {n: found.fb_iou for n, found in curves.items()}
    report.support_curve = {n: mean_or_nan(values) for n, values in own.items()}
    report.by_supports = {k: found.miou for k, found in by_supports.items()}
    report.seconds, report.click_seconds = mean_or_nan(query_seconds), mean_or_nan(click_seconds)
    return report


class SupportUser:
    """A person who spends each click on the support whose mask is most wrong, in its deepest error."""

    def __init__(
        self, model: FewShotModel, annotated: Sequence[Annotated], features: Sequence[Features]
    ) -> None:
        self.model = model
        self.truths = [a.truth for a in annotated]
        self.features = features
        self.simulators = [ClickSimulator(truth) for truth in self.truths]
        self.masks = [np.zeros(t.shape, bool) for t in self.truths]
        self.supports = [
            Support(str(i), a.image, np.full(a.truth.shape, UNKNOWN, np.int32))
            for i, a in enumerate(annotated)
        ]

    def click(self) -> float:
        """Make one click and let the support's mask follow; the seconds that took."""
        wrong = [
            int(((mask != (truth == 1)) & (truth != -1)).sum())
            for mask, truth in zip(self.masks, self.truths, strict=True)
        ]
        # A support without a positive click is no support yet: the first click goes to each in turn.
        unclicked = [i for i, s in enumerate(self.supports) if not s.clicks]
        worst = unclicked[0] if unclicked else int(np.argmax(wrong))
        click = self.simulators[worst].next(self.masks[worst])
        before = self.supports[worst]
        made = _with_click(before, click)
        started = time.perf_counter()
        answer = self.model.segment_support(made, self.features[worst], [_LABEL])
        seconds = time.perf_counter() - started
        self.supports[worst] = made
        self.masks[worst] = answer.mask([_LABEL]) == _LABEL
        return seconds

    def iou(self) -> float:
        """Mean IoU of the clicked supports."""
        values = []
        for mask, truth, support in zip(self.masks, self.truths, self.supports, strict=True):
            if support.clicks:
                inside = truth == 1
                union = int(((mask | inside) & (truth != -1)).sum())
                values.append(int((mask & inside).sum()) / max(union, 1))
        return mean_or_nan(values)


def _with_click(support: Support, click: Click) -> Support:
    clicks = (*support.clicks, (_LABEL, click))
    return Support(support.key, support.image, support.mask, clicks, version=support.version + 1)


def _painted(index: int, annotated: Annotated) -> Support:
    mask = annotated.truth.astype(np.int32)
    return Support(f"dense-{index}", annotated.image, mask, accepted=True)


def _query(
    model: FewShotModel, supports: Sequence[Support], features: Sequence[Features], query: Features
) -> npt.NDArray[np.bool_]:
    used = [(s, f) for s, f in zip(supports, features, strict=True) if s.labels]
    embeddings = [model.embed(s, f, [_LABEL]) for s, f in used]
    answer = model.predict([query], [()], embeddings, [_LABEL])[0]
    mask: npt.NDArray[np.bool_] = answer.mask([_LABEL]) == _LABEL
    return mask
