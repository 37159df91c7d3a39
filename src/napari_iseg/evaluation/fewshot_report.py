"""Few-shot results on disk: JSON, Markdown and plots."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from napari_iseg.errors import InputError
from napari_iseg.evaluation.fewshot_protocol import BUDGET, QueryReport
from napari_iseg.evaluation.fewshot_tables import comparison, fewshot_table
from napari_iseg.evaluation.fewshot_volumes import CLICKS, VolumeReport
from napari_iseg.evaluation.plots import new_figure, require_matplotlib, save_figure
from napari_iseg.evaluation.report import finite
from napari_iseg.files import write_text

_PROTOCOL = f"""Volumes and scenes: a share of the slices or tiles is annotated, at least one; Dice is
taken over others (at most 24, evenly spread), mean over labels. "Dice@5%": 5 % annotated by true masks;
"{CLICKS} clicks@5%": by at most {CLICKS} simulated clicks per label and annotated plane. Methods that copy
masks get masks of the clicks from the two-stage baseline's click model. From true masks that baseline is
its second stage, so it has numbers for clicks only. A scene is cut to tiles, from one image or a set; methods
that copy masks take the nearest tile's, learned ones are not told where tiles lie.

Images: queries are never clicked. mIoU is accumulated over all queries of a class, then averaged over
classes; FB-IoU averages foreground and background IoU whatever the class. Each click goes where the worst
support is most wrong. "true masks" (and FB-IoU) is the score with the supports' true masks, "area" the mean
of the curve over 1 to {BUDGET} clicks, "ratio" the curve's last point over the score with true masks, "k=4"
{BUDGET} clicks split over 4 supports, "alarm" the share of empty queries with more than 0.1 % of their area
predicted.

Ablations `:no-click-vector`, `:no-prior`, `:no-fit` and `:no-position` leave a part out of a trained model.
"No alignment" is none of these: the alignment loss acts in training only, so it takes a second training with
`alignment = 0` under `[loss.terms]` of the recipe."""


def write_fewshot_report(
    queries: Sequence[QueryReport],
    volumes: Sequence[VolumeReport],
    folder: str | Path,
    *,
    notes: Sequence[str] = (),
    run: Mapping[str, Any] = MappingProxyType({}),
    plots: bool = True,
) -> list[Path]:
    """Write fewshot.json, fewshot.md and plots: per data set, and clicks split over supports.

    Parameters
    ----------
    notes : sentences for the reader, for example which data sets were left out
    run : what was run on what: version, weights, parts of the sets

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
    content = {
        "queries": [r.to_dict() for r in queries],
        "volumes": [r.to_dict() for r in volumes],
        "notes": list(notes),
        "protocol": dict(run),
    }
    ran = [f"What was run: {', '.join(f'{name} {value}' for name, value in run.items())}"] if run else []
    lines = [f"* {line}" for line in (*comparison(queries, volumes), *notes, *ran)]
    text = [
        "# Few-shot evaluation",
        "\n".join(lines),
        fewshot_table(queries, volumes),
        "## Protocol",
        _PROTOCOL,
    ]
    files = [folder / "fewshot.json", folder / "fewshot.md"]
    write_text(files[0], json.dumps(finite(content), indent=1) + "\n")
    write_text(files[1], "\n\n".join(part for part in text if part) + "\n")
    return files + (_plots(queries, volumes, folder) if plots else [])


def _plots(queries: Sequence[QueryReport], volumes: Sequence[VolumeReport], folder: Path) -> list[Path]:
    files = []
    for name in dict.fromkeys(r.dataset for r in queries):
        own = [r for r in queries if r.dataset == name]
        if any(r.curve for r in own):
            curves = [(r.method, r.curve, r.dense) for r in own if r.curve]
            labels = ("clicks on the supports", "query mIoU (dotted: true masks)", name)
            files.append(_lines(curves, labels, folder / f"{name}_queries.png"))
        split = [(r.method, r.by_supports, None) for r in own if len(r.by_supports) > 1]
        if split:
            labels = (f"supports that share {BUDGET} clicks", "query mIoU", name)
            files.append(_lines(split, labels, folder / f"{name}_supports.png"))
    for name in dict.fromkeys(r.dataset for r in volumes):
        of = [r for r in volumes if r.dataset == name]
        kind = "tiles" if of[0].scene else "slices"
        drawn: list[Any] = [(r.method, _percent(r.dice), None) for r in of if r.dice]
        drawn += [(f"{r.method}, {CLICKS} clicks", _percent(r.clicked), None) for r in of if r.clicked]
        labels = (f"annotated {kind}, %", "Dice of the others", name)
        files.append(_lines(drawn, labels, folder / f"{name}_{'scene' if of[0].scene else 'volume'}.png"))
    return files


def _percent(found: Mapping[float, float]) -> dict[float, float]:
    return {100 * share: value for share, value in found.items()}


def _lines(
    curves: Sequence[tuple[str, Mapping[Any, float], float | None]], labels: tuple[str, str, str], path: Path
) -> Path:
    """A plot of (name, x -> y, level) each; clicks are dashed so that they differ from true masks."""
    figure = new_figure()
    axes = figure.add_subplot()
    colours: dict[str, Any] = {}
    for name, curve, level in curves:
        dashed = name.endswith(" clicks")
        method = name.rpartition(", ")[0] if dashed else name
        (line,) = axes.plot(
            list(curve),
            list(curve.values()),
            marker=".",
            label=name,
            linestyle="--" if dashed else "-",
            color=colours.get(method),
        )
        colours.setdefault(method, line.get_color())
        if level is not None:
            axes.axhline(level, color=line.get_color(), linestyle=":", linewidth=1)
    axes.set(xlabel=labels[0], ylabel=labels[1], ylim=(0, 1), title=labels[2])
    axes.legend(fontsize="small")
    return save_figure(figure, path)
