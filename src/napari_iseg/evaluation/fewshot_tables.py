"""Few-shot results as Markdown: means and differences first, then a row per data set and method."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeVar

from napari_iseg.evaluation.fewshot_metrics import mean_or_nan
from napari_iseg.evaluation.fewshot_protocol import QueryReport
from napari_iseg.evaluation.fewshot_volumes import CLICKS, VolumeReport
from napari_iseg.evaluation.report import markdown_table

R = TypeVar("R", QueryReport, VolumeReport)
_AT: Final = 0.05  # the share of annotated planes at which methods are compared in one line
_QUERY_COLUMNS: Final[Mapping[str, Callable[[QueryReport], float]]] = {
    "area": lambda r: r.area,
    "true masks": lambda r: r.dense,
    "FB-IoU": lambda r: r.dense_fb,
    "ratio": lambda r: r.ratio,
}


def fewshot_table(queries: Sequence[QueryReport], volumes: Sequence[VolumeReport]) -> str:
    """Markdown tables: one row per data set and method, mean rows at the end where there are several sets."""
    parts = []
    for scene, first in ((False, "volume"), (True, "scene")):
        found = [r for r in volumes if r.scene is scene]
        if found:
            parts.append(_volume_table(found, first))
    if queries:
        parts.append(_query_table(queries))
    return "\n\n".join(parts)


def comparison(queries: Sequence[QueryReport], volumes: Sequence[VolumeReport]) -> list[str]:
    """One line for each other method: by how much the first one is ahead of it, and on how many sets."""
    methods = list(dict.fromkeys([*(r.method for r in volumes), *(r.method for r in queries)]))
    lines = []
    for other in methods[1:]:
        said = []
        for kind, scene in (("volumes", False), ("scenes", True)):
            part = [r for r in volumes if r.scene is scene]
            painted = _pairs(part, methods[0], other, lambda r: r.dice.get(_AT, math.nan))
            clicked = _pairs(part, methods[0], other, lambda r: r.clicked.get(_AT, math.nan))
            said += [_lead(painted, f"Dice of {kind}, {_AT:.0%} painted")]
            said += [_lead(clicked, f"Dice of {kind}, {_AT:.0%} clicked")]
        said.append(_lead(_pairs(queries, methods[0], other, lambda r: r.area), "area of images"))
        kept = [text for text in said if text]
        if kept:
            lines.append(f"{methods[0]} against {other}: {'; '.join(kept)}.")
    return lines


def _volume_table(reports: Sequence[VolumeReport], first: str) -> str:
    painted = sorted({share for r in reports for share in r.dice})
    clicked = sorted({share for r in reports for share in r.clicked})
    head = [first, "method", "slices" if first == "volume" else "tiles"]
    head += [*(f"Dice@{100 * s:g}%" for s in painted), *(f"{CLICKS} clicks@{100 * s:g}%" for s in clicked)]
    rows = []
    for r in reports:
        row = [r.dataset, r.method, str(r.slices), *(_number(r.dice.get(s)) for s in painted)]
        row += [_number(r.clicked.get(s)) for s in clicked]
        rows.append([*row, _number(mean_or_nan(list(r.trust.values())), 2), _number(r.seconds)])
    for method, own in _by_method(reports):
        row = ["**mean**", method, str(len(own)), *(_mean(r.dice.get(s) for r in own) for s in painted)]
        row += [_mean(r.clicked.get(s) for r in own) for s in clicked]
        rows.append([*row, "", _mean(r.seconds for r in own)])
    return markdown_table([*head, "trust", "s/plane"], rows)


def _query_table(reports: Sequence[QueryReport]) -> str:
    clicks = sorted({n for r in reports for n in r.curve})
    splits = sorted({k for r in reports for k in r.by_supports})
    head = ["images", "method", "cases", *(f"mIoU@{n}" for n in clicks), *_QUERY_COLUMNS]
    head += [*(f"k={k}" for k in splits), "alarm", "s/query", "s/click"]
    rows = []
    for r in reports:
        row = [r.dataset, r.method, str(r.cases), *(_number(r.curve.get(n)) for n in clicks)]
        row += [_number(of(r)) for of in _QUERY_COLUMNS.values()]
        row += [*(_number(r.by_supports.get(k)) for k in splits), _number(r.alarm, 2)]
        rows.append([*row, _number(r.seconds), _number(r.click_seconds)])
    for method, own in _by_method(reports):
        row = ["**mean**", method, str(sum(r.cases for r in own))]
        row += [_mean(r.curve.get(n) for r in own) for n in clicks]
        row += [_mean(of(r) for r in own) for of in _QUERY_COLUMNS.values()]
        row += [*(_mean(r.by_supports.get(k) for r in own) for k in splits), _alarms(own)]
        rows.append([*row, _mean(r.seconds for r in own), _mean(r.click_seconds for r in own)])
    return markdown_table(head, rows)


def _by_method(reports: Sequence[R]) -> list[tuple[str, list[R]]]:
    """Reports of each method; nothing where there is one data set only."""
    if len({r.dataset for r in reports}) < 2:
        return []
    names = dict.fromkeys(r.method for r in reports)
    return [(name, [r for r in reports if r.method == name]) for name in names]


def _pairs(reports: Sequence[R], first: str, other: str, value: Callable[[R], float]) -> list[float]:
    """Differences on the data sets that both have a number for."""
    found: dict[str, dict[str, float]] = {}
    for r in reports:
        found.setdefault(r.dataset, {})[r.method] = value(r)
    gaps = [row[first] - row[other] for row in found.values() if first in row and other in row]
    return [gap for gap in gaps if math.isfinite(gap)]


def _lead(gaps: Sequence[float], what: str) -> str:
    if not gaps:
        return ""
    ahead = sum(gap > 0 for gap in gaps)
    return f"{what} {mean_or_nan(gaps):+.3f} (ahead on {ahead} of {len(gaps)})"


def _mean(values: Iterable[float | None]) -> str:
    kept = [v for v in values if v is not None and math.isfinite(v)]
    return _number(mean_or_nan(kept))


def _alarms(reports: Sequence[QueryReport]) -> str:
    """False alarms over all empty queries together: single sets have a handful each."""
    empties = sum(r.empties for r in reports)
    alarms = sum(r.alarm * r.empties for r in reports if r.empties)
    return _number(alarms / empties, 2) if empties else ""


def _number(value: float | None, digits: int = 3) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"
