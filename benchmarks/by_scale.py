"""Several models on the same objects, per data set and per object size.

    python benchmarks/by_scale.py recipes/cfr-icl-starter.toml --data FOLDER --out results/by-scale
        --models cfr-icl-starter mst-starter adaptiveclick-starter [--objects 20] [--bounds 0.05 0.1 0.3]

The validation part of every set of the recipe; the same seeded choice of objects for all, so the first click
of an object is the same for all models and later ones go, as published, where each model's own mask is most
wrong. Each report is written as soon as it is there and not made again, so the run may be stopped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

import torch
from starter import recipe_arguments, validation_sets

from napari_iseg.evaluation.datasets import Dataset
from napari_iseg.evaluation.methods import ModelMethod
from napari_iseg.evaluation.metrics import SCALE_BOUNDS, Report
from napari_iseg.evaluation.protocol import evaluate
from napari_iseg.evaluation.report import finite, write_report
from napari_iseg.weights.store import load_model


def reports_of(name: str, sets: Sequence[Dataset], options: argparse.Namespace) -> list[Report]:
    """The reports of one model, read where they were made before."""
    folder = options.out / name
    folder.mkdir(parents=True, exist_ok=True)
    method, reports = None, []
    few = {"max_objects": options.objects, "max_objects_per_image": options.per_image}
    for data in sets:
        path = folder / f"{data.name}.json"
        if not path.exists():
            method = method or ModelMethod(load_model(name, device=options.device, precision="float32"))
            made = evaluate(method, data, options.clicks, scale_bounds=options.bounds, **few)
            path.write_text(json.dumps(finite(made.to_dict())))
        reports.append(Report.from_dict(json.loads(path.read_text())))
        print(f"{name} {data.name}: NoC@85 {reports[-1].noc(0.85):.2f}", flush=True)
    return reports


def check_same_objects(reports: Sequence[Report]) -> None:
    """Refuse to compare what was measured on other objects, or binned otherwise."""
    seen: dict[str, tuple[object, ...]] = {}
    for report in reports:
        key = report.scale_bounds, report.max_clicks, *((o.image, o.label) for o in report.objects)
        if seen.setdefault(report.dataset, key) != key:
            raise SystemExit(
                f"{report.method} saw other objects of {report.dataset}; delete its old results."
            )


def main() -> None:
    parser = recipe_arguments(__doc__)
    parser.add_argument("--models", nargs="+", required=True)
    parser.add_argument("--objects", type=int, default=20)
    parser.add_argument("--per-image", type=int, default=4)
    parser.add_argument("--clicks", type=int, default=20)
    parser.add_argument("--bounds", type=float, nargs="+", default=list(SCALE_BOUNDS))
    parser.add_argument("--sets", nargs="*", help="only these sets")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sets = [
        s for s in validation_sets(options.recipe, options.data) if not options.sets or s.name in options.sets
    ]
    reports = [report for name in options.models for report in reports_of(name, sets, options)]
    check_same_objects(reports)
    for path in write_report(reports, options.out, plots=False):
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
