"""Reports on disk: JSON for machines, Markdown for people, PNG plots for both."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from napari_iseg.errors import InputError, SaveError
from napari_iseg.evaluation.alone import alone
from napari_iseg.evaluation.how_run import run_lines
from napari_iseg.evaluation.metrics import Report
from napari_iseg.evaluation.scales import bounds_sentence, scale_rows
from napari_iseg.files import write_text

_PROTOCOL = """Protocol: at most {clicks} simulated clicks per object from an empty mask; an object {stop}.
NoC@t is the mean number of clicks to IoU t, {clicks} where it is never reached. Failures are the objects that
count {clicks}: as published, those that reach t with the last click are among them.
IoU@k is the mean IoU after k clicks (a finished object keeps its IoU). Seconds per click are wall time over
clicks, image reading included."""

REPORTS = ("report.json", "boxes.json", "dis.json", "fewshot.json")  # of clicks, boxes, edges, few supports
_PROBE = 2**16  # bytes; a full disk may still give out an empty file


def write_report(reports: Sequence[Report], folder: str | Path, *, plots: bool = True) -> list[Path]:
    """Write report.json, report.md and, per data set, a curve and a bar plot.

    Parameters
    ----------
    reports : one per method and data set
    folder : made when it is not there
    plots : False leaves the PNG files out (they need matplotlib)

    Returns
    -------
    The files written.

    Raises
    ------
    SaveError
        When the folder cannot be written.
    InputError
        When matplotlib is needed and not installed; nothing is written then.
    """
    folder = Path(folder)
    if plots:
        from napari_iseg.evaluation.plots import plot_curves, plot_noc, require_matplotlib

        require_matplotlib()
    files = [folder / REPORTS[0], folder / "report.md"]
    write_text(files[0], json.dumps([finite(r.to_dict()) for r in reports], indent=1))
    write_text(files[1], markdown(reports))
    for name in datasets_of(reports) if plots else ():
        part = [r for r in reports if r.dataset == name]
        files.append(plot_curves(part, folder / f"{name}_curve.png"))
        files.append(plot_noc(part, folder / f"{name}_noc.png"))
    return files


@contextmanager
def report_folder(folder: Path, *, overwrite: bool) -> Iterator[None]:
    """A block that writes a report there, alone; all is refused before hours of clicks.

    Raises
    ------
    InputError
        When a report is there already, unless ``overwrite``, or another process is making one.
    SaveError
        See `check_folder`.
    """
    check_folder(folder, overwrite=overwrite)
    with alone(folder, "writing a report"):
        check_folder(folder, overwrite=overwrite)  # one that was just ending has written its own by now
        yield


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder for reports that cannot be made or written to, before hours of clicks.

    Raises
    ------
    InputError
        When a report is there already, unless ``overwrite``.
    SaveError
        When it is a file, or nothing can be written there (no permission, a full disk).
    """
    try:
        probe_folder(folder)
    except OSError as error:
        raise SaveError(
            f"Reports cannot be written to {folder} ({error.strerror or error}); choose another folder."
        ) from error
    there = next((folder / name for name in REPORTS if (folder / name).exists()), None)
    if there is not None and not overwrite:
        raise InputError(f"{there} exists already; give --overwrite to replace it, or choose another folder.")


def probe_folder(folder: Path) -> None:
    """OSError where a folder, or what would be its parent, takes no file; nothing is left there."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    with tempfile.TemporaryFile(dir=there) as probe:
        probe.write(bytes(_PROBE))
        probe.flush()


def markdown(reports: Sequence[Report]) -> str:
    """The table of all methods and data sets, the protocol, results by object size, and what was run."""
    if not reports:
        raise InputError("There is nothing to report; evaluate at least one data set.")
    first = reports[0]
    stop = f"stops at IoU {first.target_iou:.2f}" if first.stop_at_target else "makes all clicks"
    lines = ["# Click evaluation", "", table(reports), ""]
    lines += [_PROTOCOL.format(clicks=first.max_clicks, stop=stop), "", "## By object size", ""]
    lines += [bounds_sentence(first.scale_bounds), ""]
    lines.append(scale_table(reports))
    ran = run_lines({f"{r.dataset}, {r.method}": r.run for r in reports})
    lines += ["", "## What was run", "", ran] if ran else []
    return "\n".join(lines) + "\n"


def table(reports: Sequence[Report]) -> str:
    """One Markdown row per data set and method."""
    thresholds = reports[0].thresholds
    clicks = [k for k in (1, 3, 5, 10, 20) if k <= reports[0].max_clicks]
    head = ["data set", "method", "objects", *(f"NoC@{t * 100:.0f}" for t in thresholds)]
    head += [*(f"fail@{t * 100:.0f}" for t in thresholds), *(f"IoU@{k}" for k in clicks), "s/click"]
    rows = []
    for name in datasets_of(reports):
        for r in (r for r in reports if r.dataset == name):
            row = [r.dataset, r.method, str(len(r.objects)), *(f"{r.noc(t):.2f}" for t in thresholds)]
            row += [*(str(r.failures(t)) for t in thresholds), *(f"{r.iou_at(k):.3f}" for k in clicks)]
            rows.append([*row, f"{r.seconds_per_click:.3f}"])
    return markdown_table(head, rows)


def scale_table(reports: Sequence[Report]) -> str:
    """Markdown: per data set and size bin the methods one below the other, see `scales.scale_rows`."""
    return markdown_table(*scale_rows(reports))


def datasets_of(reports: Sequence[Report]) -> list[str]:
    """Names of the data sets in the order of their first report."""
    return list(dict.fromkeys(r.dataset for r in reports))


def markdown_table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown; columns after the second are aligned right."""
    align = ["---" if i < 2 else "---:" for i in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, align, *rows))


def finite(value: Any) -> Any:
    """JSON has no NaN: null instead."""
    if isinstance(value, dict):
        return {key: finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
