"""Where the next annotation helps most."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from napari_iseg.fewshot.frame import Plane
from napari_iseg.fewshot.plan import Plan
from napari_iseg.fewshot.record import Record
from napari_iseg.prompts import Window


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A slice, or a tile of it, and why.

    Attributes
    ----------
    plane, window : where
    reason : one short sentence
    score : the larger, the more doubtful; only for comparing
    """

    plane: Plane
    window: Window
    reason: str
    score: float


def suggest(plan: Plan, record: Record, without: Collection[Plane] = ()) -> Suggestion | None:
    """The unit whose answer is least trusted and most undecided, not beside one that is annotated.

    Where the image has no value there is nothing to annotate.
    A candidate lies at least half the median gap between supports away from every support; where none does
    (short stacks), the distance is not asked for. Equal scores: the first in the order of the array. None
    when everything is annotated or nothing is computed yet.

    Parameters
    ----------
    without : planes that are not wanted
    """
    found: list[tuple[float, float, Suggestion]] = []
    for unit in plan.blocks:
        job = plan.jobs[unit.name]
        result = record.result(job)
        if result is None or result.is_empty or job.fixed or unit.plane in without:
            continue
        reasons = {
            f"its trust is {result.trust:.2f}": 1 - result.trust,
            "many pixels are undecided": result.doubt,
            "the object was lost on the way here": float(result.drifted),
        }
        score = sum(reasons.values())
        reason = max(reasons, key=lambda name: reasons[name])
        core = plan.grid.core(unit.row, unit.col)
        found.append((score, job.distance, Suggestion(unit.plane, core, reason, score)))
    apart = _gap(plan) / 2
    far = [entry for entry in found if entry[1] >= apart] or found
    return max(far, key=lambda entry: entry[0])[2] if far else None


def _gap(plan: Plan) -> float:
    """Median distance from a support to its nearest neighbour; 0 with one support."""
    centres = np.array([plan.frame.centre(ref.plane, ref.window) for ref in plan.supports.values()])
    if len(centres) < 2:
        return 0.0
    away = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    np.fill_diagonal(away, np.inf)
    return float(np.median(away.min(1)))
