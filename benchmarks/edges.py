"""Coarse and refined masks on the held-out pictures of a recipe's sets, as rows of a table.

    python benchmarks/edges.py recipes/is5net-starter.toml --data FOLDER [--model is5net-starter]
        [--first cfr-icl-starter --clicks 3 | --first sam-starter --boxes | --degraded 1.0] [--objects 8]

Boundary IoU, HCE (corrections that a person would still have to make) and IoU of the first stage's masks
and of what the refinement makes of them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from napari_iseg.evaluation.dis import BoxedMask, ClickedMask, DegradedTruth, evaluate_dis
from napari_iseg.evaluation.dis_verdict import verdicts
from napari_iseg.evaluation.methods import ModelMethod
from napari_iseg.training.load import open_sets
from napari_iseg.training.recipe import read_recipe
from napari_iseg.weights.store import load_edge_model, load_model

HEAD = (
    "| data set | objects | boundary IoU, coarse | refined | HCE, coarse | refined | IoU, coarse | refined |"
)


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="is5net-starter")
    parser.add_argument("--first", default="cfr-icl-starter")
    parser.add_argument("--clicks", type=int, default=3)
    parser.add_argument("--boxes", action="store_true", help="one box per object instead of clicks")
    parser.add_argument("--degraded", type=float, help="truths made coarse by that strength instead")
    parser.add_argument("--objects", type=int, default=8)
    parser.add_argument("--sets", nargs="*", help="only these sets")
    parser.add_argument("--precision", default="float32", help="number format of the networks")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    refiner = load_edge_model(options.model, device="cpu", precision=options.precision)
    if options.degraded:
        first: DegradedTruth | BoxedMask | ClickedMask = DegradedTruth(0, options.degraded)
    else:
        method = ModelMethod(load_model(options.first, device="cpu", precision=options.precision))
        first = BoxedMask(method) if options.boxes else ClickedMask(method, options.clicks)
    print(HEAD + "\n|" + " --- |" * 8, flush=True)
    rows = []
    for _, _, held_out in open_sets(read_recipe(options.recipe), options.data):
        if options.sets and held_out.name not in options.sets:
            continue
        reports = evaluate_dis(first, held_out, refiner, max_objects=options.objects, with_hce=True)
        verdict = verdicts(reports)[0]
        ious = [report.values()["IoU"] for report in reports]
        rows.append((*verdict.boundary_iou, *verdict.hce, *ious))
        print(row(held_out.name, str(len(reports[0].scores)), rows[-1]), flush=True)
    print(row(f"**mean of {len(rows)}**", "", tuple(np.mean(rows, 0))))


def row(name: str, count: str, values: tuple[float, ...]) -> str:
    """One line of the table."""
    cells = [f"{value:.{1 if place in (2, 3) else 3}f}" for place, value in enumerate(values)]
    return f"| {' | '.join([name, count, *cells])} |"


if __name__ == "__main__":
    main()
