"""What each term of a training objective does: short runs of a recipe with one term switched off at a time.

    python benchmarks/loss_terms.py recipes/mst-starter.toml --data FOLDER --out results/terms
        [--steps 150] [--size 96] [--batch 12] [--terms token score] [--objects 8] [--sets NAME ...]

All runs see the same samples from the same start. A run that has its result is not made again, so the whole
may be stopped; the table is printed, and written to terms.md, at the end.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from starter import recipe_arguments

from napari_iseg.evaluation.datasets import Dataset
from napari_iseg.training.bank import Bank
from napari_iseg.training.fit import Trainer
from napari_iseg.training.load import open_sets
from napari_iseg.training.log import Progress
from napari_iseg.training.recipe import Recipe, read_recipe
from napari_iseg.training.task import task_for

ALL = "all"


def short(recipe: Recipe, options: argparse.Namespace) -> Recipe:
    """The recipe as a short run on small windows, validated at its end only."""
    steps = options.steps
    optim = replace(
        recipe.optim,
        steps=steps,
        decay_from=steps // 2,
        batch=options.batch,
        warmup=max(1, steps // 8),
        average=0.98,  # the mean over the last third or so of a short run
    )
    validation = replace(
        recipe.validation,
        every=steps,
        objects=options.objects,
        sets=tuple(options.sets),
        max_clicks=options.clicks,
    )
    return replace(
        recipe, optim=optim, validation=validation, samples={**recipe.samples, "size": options.size}
    )


def without(recipe: Recipe, term: str) -> Recipe:
    """The recipe with one term's weight at 0; unchanged for ``ALL``."""
    if term == ALL:
        return recipe
    return replace(recipe, loss=replace(recipe.loss, terms={**recipe.loss.terms, term: 0.0}))


def run(recipe: Recipe, bank: Bank, held_out: Sequence[Dataset], folder: Path) -> dict[str, object]:
    """Scores after the run, and each term's mean over its first and its last tenth."""
    result = folder / "result.json"
    if result.exists():
        return json.loads(result.read_text())
    task = task_for(recipe.backend)
    seen: list[Progress] = []
    validate = task.validator(recipe, held_out)
    Trainer(recipe, bank, folder, validate, task).run(seen.append)
    tenth = max(1, len(seen) // 10)
    made = {
        "scores": seen[-1].scores,
        "first": mean_terms([p.terms for p in seen[:tenth]]),
        "last": mean_terms([p.terms for p in seen[-tenth:]]),
    }
    result.write_text(json.dumps(made))
    return made


def mean_terms(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = {name for row in rows for name in row}
    return {name: float(np.mean([row[name] for row in rows if name in row])) for name in sorted(names)}


def table(recipe: Recipe, results: Mapping[str, dict[str, dict[str, float]]]) -> str:
    """Markdown: what switching a term off changes, and from where to where each term falls."""
    lines = [f"| {recipe.name} | NoC@85 | IoU after the last click |", "| --- | --- | --- |"]
    for term, result in results.items():
        name = "all terms" if term == ALL else f"without {term}"
        lines.append(f"| {name} | {result['scores']['noc']:.2f} | {result['scores']['iou']:.3f} |")
    lines += ["", "| term | first tenth of the steps | last tenth |", "| --- | --- | --- |"]
    full = results[ALL]
    lines += [f"| {term} | {full['first'][term]:.3f} | {full['last'][term]:.3f} |" for term in full["last"]]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = recipe_arguments(__doc__)
    parser.add_argument("--terms", nargs="*", required=True)
    parser.add_argument("--sets", nargs="*", default=[], help="validation sets; default: all of the recipe")
    for name, value in {
        "steps": 150,
        "size": 96,
        "batch": 12,
        "objects": 8,
        "clicks": 10,
        "threads": 2,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = short(read_recipe(options.recipe), options)
    sets = open_sets(recipe, options.data)
    held_out = [part for _, _, part in sets]
    bank = task_for(recipe.backend).bank(recipe, sets, None)
    results = {}
    for term in (ALL, *options.terms):
        results[term] = run(without(recipe, term), bank, held_out, options.out / recipe.name / term)
        print(f"{recipe.name} {term}: {results[term]['scores']}", flush=True)
    text = table(recipe, results)
    (options.out / recipe.name / "terms.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
