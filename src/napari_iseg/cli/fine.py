"""``napari-iseg evaluate --dis``: how fine the masks are, before and after their edges were refined."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_iseg.cli.common import errors, print_json
from napari_iseg.errors import InputError

if TYPE_CHECKING:
    from napari_iseg.evaluation.datasets import Dataset


def evaluate_fine(
    loaded: Any,
    refine_edges: str | None,
    data: Sequence[Dataset],
    *,
    device: str,
    clicks: int,
    boxes: bool,
    fine: Sequence[str] = (),
    max_objects: int | None,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """DIS metrics: a table, or JSON, and ``dis.json`` and ``dis.md`` in ``out``.

    Parameters
    ----------
    loaded : a click model, whose masks after ``clicks`` simulated clicks, or with ``boxes`` from the true
        box, are the first stage; or a refinement
        model, whose first stage is the degraded truth
    refine_edges : a refinement model for a click model's masks, or None
    fine : names of the sets where refinement must help; empty: all
    """
    from napari_iseg import backends
    from napari_iseg.evaluation.dis import (
        BoxedMask,
        ClickedMask,
        DegradedTruth,
        FirstStage,
        dis_table,
        evaluate_dis,
    )
    from napari_iseg.evaluation.dis_verdict import verdict_table, verdicts
    from napari_iseg.evaluation.methods import ModelMethod
    from napari_iseg.evaluation.report import finite
    from napari_iseg.weights.files import write_text
    from napari_iseg.weights.store import load_edge_model

    names = [dataset.name for dataset in data]
    unknown = [name for name in fine if name not in names]
    if unknown:
        raise InputError(f"There is no data set {unknown[0]!r} among {', '.join(names)}; mend --fine.")
    refiner = load_edge_model(refine_edges, device=device) if refine_edges is not None else None
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
    reports = []
    for dataset in data:
        with errors.status(f"{dataset.name}, {first.name}"):
            limits = {"max_objects": max_objects, "seed": seed}
            reports.extend(evaluate_dis(first, dataset, refiner, refiner_name=name, **limits))  # type: ignore[arg-type]
    judged = verdicts(reports, fine)
    text = dis_table(reports) + (f"\n\n{verdict_table(judged)}" if judged else "")
    summary = [finite(report.to_dict()) for report in reports]
    files = []
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        files = [out / "dis.json", out / "dis.md"]
        write_text(files[0], json.dumps(summary, indent=1) + "\n")
        write_text(files[1], text + "\n")
    if as_json:
        print_json({"reports": summary, "verdicts": [one.to_dict() for one in judged], "files": files})
        return
    print(text)
    for file in files:
        print(f"wrote {file}")
