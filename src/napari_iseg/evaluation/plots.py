"""Plots of a click evaluation, drawn without a display."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_iseg.errors import InputError
from napari_iseg.evaluation.metrics import Report
from napari_iseg.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def require_matplotlib() -> None:
    """Refuse early, with the fix, where plots cannot be drawn."""
    if find_spec("matplotlib") is None:
        raise InputError("Plots need matplotlib; run: pip install 'napari-iseg[train]'.")


def plot_curves(reports: Sequence[Report], path: Path) -> Path:
    """Mean IoU after each click, one line per method; ``reports`` are of one data set."""
    figure = new_figure()
    axes = figure.add_subplot()
    for report in reports:
        axes.plot(np.arange(1, report.max_clicks + 1), report.curve(), marker=".", label=report.method)
    axes.set(xlabel="clicks", ylabel="mean IoU", ylim=(0, 1), title=_title(reports))
    axes.set_xticks(range(1, max(r.max_clicks for r in reports) + 1, 1 if reports[0].max_clicks <= 10 else 2))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return save_figure(figure, path)


def plot_noc(reports: Sequence[Report], path: Path) -> Path:
    """Clicks to each IoU threshold as bars, one colour per method; ``reports`` are of one data set."""
    figure = new_figure()
    axes = figure.add_subplot()
    thresholds = reports[0].thresholds
    width = 0.8 / len(reports)
    for i, report in enumerate(reports):
        places = np.arange(len(thresholds)) + (i - (len(reports) - 1) / 2) * width
        bars = axes.bar(places, [report.noc(t) for t in thresholds], width, label=report.method)
        axes.bar_label(bars, fmt="%.1f", fontsize=8)
    axes.set_xticks(range(len(thresholds)), [f"NoC@{t * 100:.0f}" for t in thresholds])
    axes.set(ylabel="mean clicks", title=_title(reports))
    axes.legend()
    return save_figure(figure, path)


def _title(reports: Sequence[Report]) -> str:
    return f"{reports[0].dataset}, {len(reports[0].objects)} objects"


def new_figure() -> Figure:
    """A figure that needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a PNG; SaveError where that fails."""
    with replacing(path) as stream:
        figure.savefig(stream, format="png")
    return path
