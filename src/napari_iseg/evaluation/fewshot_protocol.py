"""Query quality against clicks: a simulated user clicks on supports, queries are never clicked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_iseg.evaluation.fewshot_cases import Annotated, Case
from napari_iseg.evaluation.fewshot_metrics import Accumulated, area_under, clicks_to_share, mean_or_nan
from napari_iseg.evaluation.fewshot_user import LABEL, SupportUser
from napari_iseg.fewshot.base import Features, FewShotModel, Support
from napari_iseg.fewshot.feature_cache import FeatureCache

AT = (1, 2, 3, 5, 10, 20)  # clicks after which queries are asked
BUDGET = 20
OnCase = Callable[[int, int], object]
_CACHE = 2**29


@dataclass
class QueryReport:
    """One method on one list of cases.

    Attributes
    ----------
    curve, fb_curve : clicks in all on the supports -> mIoU and FB-IoU of the queries
    support_curve : clicks -> mean IoU of the supports themselves
    dense, dense_fb : the same with the supports' true masks
    by_supports : number of supports -> mIoU with ``BUDGET`` clicks split over them
    alarm : share of the ``empties`` empty queries with a false alarm, with true masks; alarm_curve : after
        clicks; class_iou : per category, dense
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
    empties: int = 0
    alarm_curve: dict[int, float] = field(default_factory=dict)
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
    supports: int | None = None,
    splits: Sequence[int] = (),
    on_case: OnCase | None = None,
) -> QueryReport:
    """Run the protocol of a method on cases.

    Parameters
    ----------
    at : numbers of clicks after which the queries are asked; () leaves the curve out
    supports : for the curve and the score with true masks, so many of each case; None: all
    splits : numbers of supports over which ``BUDGET`` clicks are split, at most as many as the cases have
    """
    most = min((len(case.supports) for case in cases), default=0)
    report = QueryReport(name, dataset, len(cases), most if supports is None else min(supports, most))
    asking = _Asking(model, report, tuple(at), tuple(k for k in splits if k <= most))
    for index, case in enumerate(cases):
        asking.ask(case)
        if on_case is not None:
            on_case(index + 1, len(cases))
    asking.finish()
    return report


class _Asking:
    """Asks one method about one case after the other and fills its report."""

    def __init__(
        self, model: FewShotModel, report: QueryReport, at: tuple[int, ...], splits: tuple[int, ...]
    ) -> None:
        self.model, self.report, self.at, self.splits = model, report, at, splits
        self.cache = FeatureCache(_CACHE)
        self.dense = Accumulated()
        self.curves = {n: Accumulated() for n in at}
        self.by_supports = {k: Accumulated() for k in splits}
        self.own: dict[int, list[float]] = {n: [] for n in at}
        self.query_seconds: list[float] = []
        self.click_seconds: list[float] = []

    def ask(self, case: Case) -> None:
        """One case: true masks, clicks, clicks split over supports."""
        started = time.perf_counter()
        query = self.model.encode(case.query.image)  # not from the cache: it is timed
        encoding = time.perf_counter() - started
        features = [self.cache.get(self.model, s.image) for s in case.supports]
        shown = self.report.supports
        painted = [_painted(i, s) for i, s in enumerate(case.supports[:shown])]
        started = time.perf_counter()
        self._score(self.dense, case, painted, features, query)
        self.query_seconds.append(encoding + time.perf_counter() - started)
        for k in sorted({shown, *self.splits} if self.at else self.splits):
            self._click(case, k, features[:k], query)

    def _click(self, case: Case, k: int, features: Sequence[Features], query: Features) -> None:
        """Clicks on the first ``k`` supports; queries are asked where the curve or the split wants it."""
        user = SupportUser(self.model, case.supports[:k], features)
        at = self.at if k == self.report.supports else ()
        last = max((*at, BUDGET if k in self.splits else 0))
        for n in range(1, last + 1):
            self.click_seconds.append(user.click())
            if n in at:
                self._score(self.curves[n], case, user.supports, features, query)
                self.own[n].append(user.iou())
        if k in self.splits:
            self._score(self.by_supports[k], case, user.supports, features, query)

    def _score(
        self,
        scores: Accumulated,
        case: Case,
        supports: Sequence[Support],
        features: Sequence[Features],
        query: Features,
    ) -> None:
        used = [(s, f) for s, f in zip(supports, features, strict=False) if s.labels]
        embeddings = [self.model.embed(s, f, [LABEL]) for s, f in used]
        answer = self.model.predict([query], [()], embeddings, [LABEL])[0]
        scores.add(case.category, answer.mask([LABEL]) == LABEL, case.query.truth)

    def finish(self) -> None:
        """Means over the cases."""
        report, dense = self.report, self.dense
        report.dense, report.dense_fb, report.alarm = dense.miou, dense.fb_iou, dense.alarm
        report.class_iou, report.empties = dense.class_iou, len(dense.empties)
        report.curve = {n: found.miou for n, found in self.curves.items()}
        report.fb_curve = {n: found.fb_iou for n, found in self.curves.items()}
        report.alarm_curve = {n: found.alarm for n, found in self.curves.items()}
        report.support_curve = {n: mean_or_nan(values) for n, values in self.own.items()}
        report.by_supports = {k: found.miou for k, found in self.by_supports.items()}
        made = [seconds for seconds in self.click_seconds if seconds]
        report.seconds, report.click_seconds = mean_or_nan(self.query_seconds), mean_or_nan(made)


def _painted(index: int, annotated: Annotated) -> Support:
    mask = annotated.truth.astype(np.int32)
    return Support(f"dense-{index}", annotated.image, mask, accepted=True)
