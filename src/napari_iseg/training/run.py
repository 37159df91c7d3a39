"""A whole training run, as the command line and other programs call it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from napari_iseg.backends.cards import ModelCard
from napari_iseg.errors import InputError
from napari_iseg.training.export import between, checkpoint_state, export, plot_curves
from napari_iseg.training.fit import Trainer
from napari_iseg.training.load import OnSet, open_sets
from napari_iseg.training.log import Log, Progress
from napari_iseg.training.recipe import Recipe
from napari_iseg.training.task import task_for


def train(
    recipe: Recipe,
    out: Path,
    data: Path | None = None,
    *,
    on_step: Callable[[Progress], object] | None = None,
    on_set: OnSet | None = None,
) -> ModelCard:
    """Train by a recipe, or go on with a run that was stopped, and export its best checkpoint.

    Parameters
    ----------
    out : the run's folder: checkpoints, ``log.csv``, ``curves.png``, and the model in ``out / recipe.name``
    data : the folder the recipe's data paths are relative to
    on_step : told after each step
    on_set : told the name and number of pictures of each loaded set

    Raises
    ------
    InputError
        For a share that is none, when data are missing, or the run's folder holds a run of another recipe.
    """
    if not 0 <= recipe.optim.start_share <= 1:
        raise InputError(f"The recipe's start_share is a share from 0 to 1, got {recipe.optim.start_share}.")
    task = task_for(recipe.backend)
    sets = open_sets(recipe, data)
    _same_recipe(recipe, out)
    bank = task.bank(recipe, sets, on_set)
    validate = task.validator(recipe, [held_out for _, _, held_out in sets])
    trainer = Trainer(recipe, bank, out, validate, task)
    log: Log | None = None
    last = Progress(0, recipe.optim.steps, float("nan"), 0.0, 0.0, {})

    def record(progress: Progress) -> None:
        nonlocal log, last
        if log is None:
            log = Log(out / "log.csv", progress.step - 1)
        log.add(progress)
        last = progress
        if on_step is not None:
            on_step(progress)

    trainer.run(record)
    best = out / "best.ckpt"
    source = best if best.exists() else out / "last.ckpt"
    plot_curves(out / "log.csv", out / "curves.png")
    state = checkpoint_state(source)
    if recipe.optim.start_share:
        # What was learned last is seldom all that was known before (WiSE-FT, arXiv 2109.01903).
        state = between(state, trainer.build().state_dict(), recipe.optim.start_share)
    return export(
        recipe,
        state,
        out / recipe.name,
        {"steps": recipe.optim.steps, "seconds": last.seconds},
    )


def _same_recipe(recipe: Recipe, out: Path) -> None:
    """Refuse to mix two recipes in one folder; a longer run or other validation is no other recipe."""
    mark = out / "recipe.txt"
    same = (recipe.name, recipe.backend, recipe.variant, recipe.seed, recipe.optim.batch, recipe.samples)
    text = f"{same}\n"
    if mark.exists() and mark.read_text() != text:
        raise InputError(f"The folder {out} holds a run of another recipe; give another --out or remove it.")
    out.mkdir(parents=True, exist_ok=True)
    mark.write_text(text)
