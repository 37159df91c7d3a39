"""The validation table of a click model: every set of a recipe, pictures that were never trained on.

    python benchmarks/starter.py recipes/cfr-icl-starter.toml --data FOLDER --out results [--model NAME]
        [--objects 20] [--baseline] [--refine N] [--no-thin] [--no-rethink] [--target 0.95]
        [--precision float32]

Each set's report is written as soon as it is there; sets that have one are not run again, so the run may
be stopped.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from napari_iseg.evaluation.baselines import RandomWalker
from napari_iseg.evaluation.datasets import Dataset, concatenate
from napari_iseg.evaluation.methods import ClickMethod, ModelMethod
from napari_iseg.evaluation.protocol import evaluate
from napari_iseg.training.load import open_sets
from napari_iseg.training.recipe import read_recipe
from napari_iseg.weights.store import load_model


def validation_sets(recipe: Path, data: Path) -> list[Dataset]:
    """Held-out parts; parts of one source (two zips of nuclei, three patients) are one set."""
    joined: dict[str, list[Dataset]] = {}
    for _, _, held_out in open_sets(read_recipe(recipe), data):
        joined.setdefault("_".join(held_out.name.split("_")[:2]), []).append(held_out)
    return [concatenate(name, parts) for name, parts in joined.items()]


def recipe_arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser of what every benchmark on a recipe's data is given: RECIPE --data FOLDER --out FOLDER."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=raw)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    return parser


def main() -> None:
    parser = recipe_arguments(__doc__)
    parser.add_argument("--model", default="cfr-icl-starter")
    parser.add_argument("--objects", type=int, default=20)
    parser.add_argument("--per-image", type=int, default=4)
    parser.add_argument("--precision", default="float32", help="number format of the network")
    parser.add_argument("--baseline", action="store_true", help="the random walker, on instance sets")
    parser.add_argument("--refine", type=int, help="refinement passes after every click")
    parser.add_argument("--no-thin", action="store_true", help="without the rule for thin structures")
    parser.add_argument("--no-rethink", action="store_true", help="the first click's scale stays")
    parser.add_argument("--target", type=float, default=0.95, help="IoU at which an object is done")
    parser.add_argument("--sets", nargs="*", help="only these sets")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    method: ClickMethod
    if options.baseline:
        method = RandomWalker()
    else:
        model = load_model(options.model, precision=options.precision)
        if options.refine is not None:
            model = model.with_inference(refine_steps=options.refine, refine_clicks=None)
        if options.no_thin:
            model = model.with_inference(thin="")
        if options.no_rethink:
            model = model.with_inference(search_rethink=False)
        method = ModelMethod(model)
    options.out.mkdir(parents=True, exist_ok=True)
    for data in validation_sets(options.recipe, options.data):
        target = options.out / f"{data.name}.json"
        if target.exists() or (options.sets and data.name not in options.sets):
            continue
        if options.baseline and data.kind == "semantic":
            continue
        few = {"max_objects": options.objects, "max_objects_per_image": options.per_image}
        report = evaluate(method, data, 20, target_iou=options.target, **few)
        target.write_text(json.dumps({"kind": data.kind, "drop": report.largest_drop(), **report.to_dict()}))
        print(
            f"{data.name:20s} {len(report.objects):3d} objects  NoC@80/85/90 "
            f"{report.noc(0.8):5.2f} {report.noc(0.85):5.2f} {report.noc(0.9):5.2f}  IoU@1/3/5/10 "
            + " ".join(f"{report.iou_at(k):.3f}" for k in (1, 3, 5, 10))
            + f"  failures@85 {report.failures(0.85)}  drop {report.largest_drop():.3f}"
            f"  {report.prediction_seconds_per_click:.3f} s/click",
            flush=True,
        )


if __name__ == "__main__":
    main()
