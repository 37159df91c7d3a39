"""Scores of few-shot segmentation: accumulated class IoU, foreground-background IoU, Dice, false alarms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
ALARM_SHARE = 0.001  # of an image's area: more on an empty query is a false alarm


@dataclass
class Accumulated:
    """Intersections and unions summed over cases, per category, as Pascal-5i is scored."""

    common: dict[str, int] = field(default_factory=dict)
    union: dict[str, int] = field(default_factory=dict)
    sides: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, 2), np.int64))
    empties: list[bool] = field(default_factory=list)

    def add(self, category: str, mask: Mask, truth: npt.NDArray[np.int8]) -> None:
        """One query; an empty one counts for the false alarms only."""
        counted, inside = truth != -1, truth == 1
        if not inside.any():
            self.empties.append(bool(np.count_nonzero(mask & counted) > ALARM_SHARE * mask.size))
            return
        common, union = int((mask & inside).sum()), int(((mask | inside) & counted).sum())
        self.common[category] = self.common.get(category, 0) + common
        self.union[category] = self.union.get(category, 0) + union
        outside = ~inside & counted
        back = int((~mask & outside).sum()), int(((~mask | outside) & counted).sum())
        self.sides += np.array([(common, union), back])

    @property
    def class_iou(self) -> dict[str, float]:
        """IoU per category."""
        return {name: self.common[name] / max(self.union[name], 1) for name in self.common}

    @property
    def miou(self) -> float:
        """Mean over categories; NaN without any."""
        return float(np.mean(list(self.class_iou.values()))) if self.common else float("nan")

    @property
    def fb_iou(self) -> float:
        """Mean of foreground and background IoU over all queries, whatever their category."""
        return (
            float((self.sides[:, 0] / np.maximum(self.sides[:, 1], 1)).mean())
            if self.common
            else float("nan")
        )

    @property
    def alarm(self) -> float:
        """Share of empty queries with a false alarm; NaN without empty queries."""
        return float(np.mean(self.empties)) if self.empties else float("nan")


def dice(common: int, predicted: int, true: int) -> float:
    """2 |A and B| / (|A| + |B|); 1 where both are empty."""
    return 2 * common / (predicted + true) if predicted + true else 1.0


def area_under(curve: Mapping[int, float], last: int = 20) -> float:
    """Mean of a curve over clicks 1..``last``, straight lines between the counts that were measured.

    Beyond the last measured count the curve stays level.
    """
    counts = sorted(curve)
    return float(np.interp(np.arange(1, last + 1), counts, [curve[n] for n in counts]).mean())


def clicks_to_share(curve: Mapping[int, float], dense: float, share: float) -> int | None:
    """The first measured number of clicks at which the curve reaches ``share`` of ``dense``, or None."""
    return next((n for n in sorted(curve) if curve[n] >= share * dense), None)


def mean_or_nan(values: Sequence[float]) -> float:
    """The mean; NaN of nothing."""
    return float(np.mean(values)) if values else float("nan")
