"""Few-shot results on disk: JSON, Markdown and plots."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from napari_iseg.errors import InputError, SaveError
from napari_iseg.evaluation.fewshot_protocol import QueryReport
from napari_iseg.evaluation.fewshot_volumes import VolumeReport
from napari_iseg.evaluation.plots import new_figure, require_matplotlib, save_figure
from napari_iseg.evaluation.report import finite, markdown_table
from napari_iseg.weights.files import write_text

_PROTOCOL = """Queries are never clicked. mIoU is accumulated over all queries of a class, then averaged over
classes; FB-IoU averages foreground and background IoU whatever the class. Clicks go where the worst support
is most wrong. "dense" is the score with the supports' true masks, "area" the mean of the curve over 1 to 20
clicks, "alarm" the share of empty queries with more than 0.1 % of their area predicted. Dice of volumes is
taken over the slices that were not annotated, with true masks on the others."""


def write_fewshot_report(
    queries: Sequence[QueryReport], volumes: Sequence[VolumeReport], folder: str | Path, *, plots: bool = True
) -> list[Path]:
    """Write fewshot.json, fewshot.md and per data set a plot.

    Raises
    ------
    SaveError
        When the folder cannot be written.
    InputError
        Where matplotlib is missing or there is nothing to report.
    """
    if not queries and not volumes:
        raise InputError("There is nothing to report; evaluate at least one data set.")
    if plots:
        require_matplotlib()
    folder = Path(folder)
    content = {"queries": [r.to_dict() for r in queries], "volumes": [r.to_dict() for r in volumes]}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / "fewshot.json", folder / "fewshot.md"]
        write_text(files[0], json.dumps(finite(content), indent=1) + "\n")
        write_text(files[1], f"# Few-shot evaluation\n\n{fewshot_table(queries, volumes)}\n\n{_PROTOCOL}\n")
        if plots:
            files += _plots(queries, volumes, folder)
    except OSError as error:
        raise SaveError(f"The report could not be written to {folder} ({error.strerror}).") from error
    return files


def fewshot_table(queries: Sequence[QueryReport], volumes: Sequence[VolumeReport]) -> str:
    """Markdown tables: one row per data set and method."""
    parts = []
    if queries:
        clicks = sorted({n for r in queries for n in r.curve})
        splits = sorted({k for r in queries for k in r.by_supports})
        head = [
            "data set",
            "method",
            "cases",
            *(f"mIoU@{n}" for n in clicks),
            "area",
            "dense",
            "FB-IoU",
            "ratio",
        ]
        head += [*(f"k={k}" for k in splits), "alarm", "s/query", "s/click"]
        rows = []
        for r in queries:
            row = [r.dataset, r.method, str(r.cases), *(_shown(r.curve, n) for n in clicks)]
            row += [f"{v:.3f}" for v in (r.area, r.dense, r.dense_fb, r.ratio)]
            row += [*(_shown(r.by_supports, k) for k in splits), f"{r.alarm:.2f}"]
            rows.append([*row, f"{r.seconds:.2f}", f"{r.click_seconds:.2f}"])
        parts.append(markdown_table(head, rows))
    if volumes:
        shares = sorted({share for r in volumes for share in r.dice})
        head = ["volume", "method", "slices", *(f"Dice@{100 * s:g}%" for s in shares), "trust", "s/slice"]
        rows = []
        for v in volumes:
            row = [v.dataset, v.method, str(v.slices), *(_shown(v.dice, s) for s in shares)]
            rows.append([*row, f"{sum(v.trust.values()) / max(len(v.trust), 1):.2f}", f"{v.seconds:.2f}"])
        parts.append(markdown_table(head, rows))
    return "\n\n".join(parts)


def _shown(values: Mapping[int, float] | Mapping[float, float], key: float) -> str:
    found = dict(values).get(key)  # type: ignore[call-overload]
    return "" if found is None else f"{found:.3f}"


def _plots(queries: Sequence[QueryReport], volumes: Sequence[VolumeReport], folder: Path) -> list[Path]:
    files = []
    for name in dict.fromkeys(r.dataset for r in queries if r.curve):
        figure = new_figure()
        axes = figure.add_subplot()
        for r in (r for r in queries if r.dataset == name and r.curve):
            (line,) = axes.plot(list(r.curve), list(r.curve.values()), marker=".", label=r.method)
            axes.axhline(r.dense, color=line.get_color(), linestyle=":", linewidth=1)
        axes.set(xlabel="clicks on the supports", ylabel="query mIoU", ylim=(0, 1), title=name)
        axes.legend()
        files.append(save_figure(figure, folder / f"{name}_queries.png"))
    for name in dict.fromkeys(r.dataset for r in volumes):
        figure = new_figure()
        axes = figure.add_subplot()
        for v in (v for v in volumes if v.dataset == name):
            axes.plot([100 * s for s in v.dice], list(v.dice.values()), marker=".", label=v.method)
        axes.set(xlabel="annotated slices, %", ylabel="Dice of the others", ylim=(0, 1), title=name)
        axes.legend()
        files.append(save_figure(figure, folder / f"{name}_volume.png"))
    return files
