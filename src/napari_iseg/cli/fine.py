"""``napari-iseg evaluate --dis``: how fine the masks are, before and after their edges were refined."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_iseg.cli.common import errors, print_json
from napari_iseg.cli.set_by_set import set_by_set
from napari_iseg.errors import InputError

if TYPE_CHECKING:
    from napari_iseg.evaluation.datasets import Dataset
    from napari_iseg.evaluation.dis import DisReport


def evaluate_fine(
    loaded: Any,
    refine_edges: str | None,
    data: Sequence[Dataset],
    *,
    device: str,
    precision: str,
    clicks: int,
    boxes: bool,
    fine: Sequence[str] = (),
    max_objects: int | None,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """DIS metrics: a table, or JSON, and ``dis.json`` and ``dis.md`` in ``out``, set by set.

    Parameters
    ----------
    loaded : a click model, whose masks after ``clicks`` simulated clicks, or with ``boxes`` from the true
        box, are the first stage; or a refinement
        model, whose first stage is the degraded truth
    refine_edges : a refinement model for a click model's masks, or None
    fine : names of the sets where refinement must help; empty: all
    """
    from napari_iseg import backends
    from napari_iseg.evaluation.dis import BoxedMask, ClickedMask, DegradedTruth, FirstStage, evaluate_dis
    from napari_iseg.evaluation.methods import ModelMethod
    from napari_iseg.weights.store import load_edge_model

    names = [dataset.name for dataset in data]
    unknown = [name for name in fine if name not in names]
    if unknown:
        raise InputError(f"There is no data set {unknown[0]!r} among {', '.join(names)}; mend --fine.")
    refiner = None
    if refine_edges is not None:
        refiner = load_edge_model(refine_edges, device=device, precision=precision)
    first: FirstStage
    if backends.role(loaded.card.backend) == "edges":
        first, refiner = DegradedTruth(seed), loaded
    else:
        backends.get_click(loaded.card.backend)
        method = ModelMethod(loaded)
        if boxes and "box" not in loaded.card.prompts:
            raise InputError(f"The model {loaded.card.name!r} does not take boxes; leave --boxes out.")
        first = BoxedMask(method) if boxes else ClickedMask(method, clicks)
    name = refiner.card.name if refiner is not None else ""
    reports: list[DisReport] = []

    def write(_plots: bool) -> list[Path]:
        return _write(reports, fine, out) if out is not None else []

    def show(files: list[Path]) -> None:
        _show(reports, fine, files, as_json)

    with set_by_set(data, reports, write, show) as sets:
        for dataset in sets:
            with errors.status(f"{dataset.name}, {first.name}"):
                limits = {"max_objects": max_objects, "seed": seed}
                reports.extend(evaluate_dis(first, dataset, refiner, refiner_name=name, **limits))  # type: ignore[arg-type]


def _write(reports: Sequence[DisReport], fine: Sequence[str], out: Path) -> list[Path]:
    from napari_iseg.files import write_text

    files = [out / "dis.json", out / "dis.md"]
    write_text(files[0], json.dumps(_summary(reports), indent=1) + "\n")
    write_text(files[1], _text(reports, fine) + "\n")
    return files


def _show(reports: Sequence[DisReport], fine: Sequence[str], files: list[Path], as_json: bool) -> None:
    from napari_iseg.evaluation.dis_verdict import verdicts

    if as_json:
        judged = [one.to_dict() for one in verdicts(reports, fine)]
        print_json({"reports": _summary(reports), "verdicts": judged, "files": files})
        return
    print(_text(reports, fine))
    for file in files:
        print(f"wrote {file}")


def _summary(reports: Sequence[DisReport]) -> list[dict[str, Any]]:
    from napari_iseg.evaluation.report import finite

    return [finite(report.to_dict()) for report in reports]


def _text(reports: Sequence[DisReport], fine: Sequence[str]) -> str:
    """The table of metrics and, where masks were refined, that of verdicts."""
    from napari_iseg.evaluation.dis import dis_table
    from napari_iseg.evaluation.dis_verdict import verdict_table, verdicts

    judged = verdicts(reports, fine)
    return dis_table(reports) + (f"\n\n{verdict_table(judged)}" if judged else "")
