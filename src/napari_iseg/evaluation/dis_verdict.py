"""Whether refined masks are better than the coarse ones they were made from, per data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from napari_iseg.evaluation.dis import DisReport


@dataclass(frozen=True)
class Verdict:
    """Boundary IoU (more is better) and HCE (fewer clicks of a person are better) before and after.

    ``fine``: whether the set's outlines are fine, so that refinement must help there.
    """

    dataset: str
    fine: bool
    boundary_iou: tuple[float, float]
    hce: tuple[float, float]

    @property
    def words(self) -> str:
        """Better in both, in one of them, or in neither."""
        sharper = self.boundary_iou[1] > self.boundary_iou[0]
        cheaper = self.hce[1] < self.hce[0]
        if sharper and cheaper:
            return "better in both"
        if sharper or cheaper:
            return f"better in {'boundary IoU' if sharper else 'HCE'} only"
        return "not better"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "verdict": self.words}


def verdicts(reports: Sequence[DisReport], fine: Sequence[str] = ()) -> list[Verdict]:
    """One per data set that has a coarse and a refined report, in this order.

    Parameters
    ----------
    fine : names of the sets with fine outlines; empty: all
    """
    found = []
    for coarse, refined in pairwise(reports):
        if coarse.dataset == refined.dataset:
            before, after = coarse.values(), refined.values()
            boundary, hce = (before["bIoU"], after["bIoU"]), (before["HCE"], after["HCE"])
            found.append(Verdict(coarse.dataset, not fine or coarse.dataset in fine, boundary, hce))
    return found


def verdict_table(found: Sequence[Verdict]) -> str:
    """Markdown: a row per set, their mean, and how many of the fine sets are better in both."""
    head = ["data set", "fine outlines", "bIoU coarse", "refined", "HCE coarse", "refined", "verdict"]
    rows = [head, ["---", "---", *["---:"] * 4, "---"]]
    for one in found:
        numbers = [f"{v:.3f}" for v in one.boundary_iou] + [f"{v:.1f}" for v in one.hce]
        rows.append([one.dataset, "yes" if one.fine else "no", *numbers, one.words])
    mean = np.mean([[*one.boundary_iou, *one.hce] for one in found], 0)
    rows.append(["**mean**", "", *(f"{v:.3f}" for v in mean[:2]), *(f"{v:.1f}" for v in mean[2:]), ""])
    fine = [one for one in found if one.fine]
    good = sum(one.words == "better in both" for one in fine)
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in rows)
    return f"{table}\n\nBetter in both on {good} of {len(fine)} data sets with fine outlines."
