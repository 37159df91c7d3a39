"""Results by the size of objects in their image: bins, their bounds in words, a table to compare methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from napari_iseg.errors import InputError
from napari_iseg.evaluation.metrics import SCALE_BOUNDS, Report

__all__ = ["SCALE_BOUNDS", "bounds_sentence", "checked_bounds", "pooled", "scale_rows"]

ALL = "all sets"
_CLICKS = (1, 5)
_THRESHOLDS = (0.85, 0.90)


def checked_bounds(bounds: Sequence[float]) -> tuple[float, ...]:
    """Bounds between bins of relative object side, as a tuple.

    Raises
    ------
    InputError
        When there are none, they are no numbers, or they do not ascend between 0 and 1.
    """
    try:
        values = tuple(float(value) for value in bounds)
        shown = ", ".join(f"{value:g}" for value in values) or "none"
    except (TypeError, ValueError):
        values, shown = (), repr(bounds)
    edges = (0.0, *values, 1.0)
    if not values or not all(low < high for low, high in pairwise(edges)):
        raise InputError(
            f"Bounds of object sizes must ascend between 0 and 1, got {shown}; "
            "give for example 0.05, 0.1, 0.3."
        )
    return values


def bounds_sentence(bounds: Sequence[float]) -> str:
    """What a size is and where the bins end, in words."""
    return (
        "Size is the side of a square of the object's area over the side of one of the image's area. "
        f"Bins end at {', '.join(f'{value:.3g}' for value in bounds)} and 1; "
        "an object on a bound belongs below it."
    )


def pooled(reports: Sequence[Report]) -> list[Report]:
    """One report per method over the objects of all its data sets; nothing for a single set."""
    if len({report.dataset for report in reports}) < 2:
        return []
    together: dict[str, Report] = {}
    for report in reports:
        held = together.get(report.method)
        objects = (*held.objects, *report.objects) if held is not None else report.objects
        wall = report.wall_seconds + (held.wall_seconds if held is not None else 0.0)
        together[report.method] = replace(report, dataset=ALL, objects=objects, wall_seconds=wall)
    return list(together.values())


def scale_rows(reports: Sequence[Report]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table: per data set and bin that holds objects, the methods one below the other.

    Several data sets are followed by all objects together.
    """
    head = ["data set", "method", "relative side", "objects"]
    head += [*(f"NoC@{t * 100:.0f}" for t in _THRESHOLDS), *(f"IoU@{k}" for k in _CLICKS)]
    every = [*reports, *pooled(reports)]
    rows = []
    for name in dict.fromkeys(report.dataset for report in every):
        binned = [(r.method, r.by_scale()) for r in every if r.dataset == name]
        for place in range(max(len(bins) for _, bins in binned)):
            for method, bins in binned:
                part = bins[place] if place < len(bins) else None  # sets may have been binned otherwise
                if part is not None and part["objects"]:
                    bounds = f"{part['from']:.3g} to {part['to']:.3g}"
                    noc = [f"{part['noc'].get(f'{t:.2f}', float('nan')):.2f}" for t in _THRESHOLDS]
                    ious = [f"{part['iou'].get(str(k), float('nan')):.3f}" for k in _CLICKS]
                    cells = [name, method, bounds, str(part["objects"]), *noc, *ious]
                    rows.append(["" if cell == "nan" else cell for cell in cells])
    return head, rows
