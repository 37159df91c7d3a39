"""A whole training run, as the command line and other programs call it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from napari_iseg import backends
from napari_iseg.backends.base import Inference, check_settings
from napari_iseg.backends.cards import ModelCard, read_card
from napari_iseg.backends.edge_model import EdgeOptions
from napari_iseg.errors import InputError, SaveError
from napari_iseg.evaluation.alone import alone
from napari_iseg.evaluation.left_out import ENTRY, left_out_table
from napari_iseg.interactive.rules import window_rule
from napari_iseg.training.checks import check, check_inference
from napari_iseg.training.episode_bank import EpisodeBank
from napari_iseg.training.export import between, checkpoint_state, export, plot_curves
from napari_iseg.training.fit import Trainer, is_first_process, keep_fixed, make_fabric
from napari_iseg.training.held_out import UNSCORED, holds_out
from napari_iseg.training.load import OnSet, Tell, open_sets
from napari_iseg.training.log import Log, Progress
from napari_iseg.training.recipe import Recipe
from napari_iseg.training.same import claim
from napari_iseg.training.start import check_starts
from napari_iseg.training.task import Task, task_for
from napari_iseg.weights.store import Store


def train(
    recipe: Recipe,
    out: Path,
    data: Path | None = None,
    *,
    on_step: Callable[[Progress], object] | None = None,
    on_set: OnSet | None = None,
    tell: Tell | None = None,
) -> ModelCard:
    """Train by a recipe, or go on with a run that was stopped, and export its best checkpoint.

    Parameters
    ----------
    out : the run's folder: checkpoints, ``log.csv``, ``curves.png``, and the model in ``out / recipe.name``
    data : the folder the recipe's data paths are relative to
    on_step : told after each step
    on_set : told the name and number of pictures of each loaded set
    tell : told in words what of the data is left out, and of a choice of the best that begins anew

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C; the steps until then are kept.
    InputError
        For a recipe that cannot be, when data are missing, when no object is held out to validate with, or
        the run's folder holds a run of another recipe or split, or one that another process is at.
    SaveError
        When something cannot be written.
    """
    check(recipe)
    task = task_for(recipe.backend)
    _try(recipe, task)
    fabric = make_fabric(recipe)
    claim(recipe, out, write=False)
    first = is_first_process()
    # the first process stands for the others of its run
    with alone(out, "training") if first else nullcontext():
        sets = open_sets(recipe, data, tell if first else None)
        fabric.launch()  # where there are several processes, each has come this far by itself
        bank = task.bank(recipe, sets, on_set if first else None)
        held_out = [part for _, _, part in sets]
        validate = task.validator(recipe, held_out) if holds_out(recipe) else None
        claim(recipe, out, write=first)  # only now: one that is refused must not bar the folder to the next
        parts = [(entry.axis, part) for entry, _, part in sets]
        left_out = left_out_table(recipe.validation.share, recipe.validation.seed, parts)
        trainer = Trainer(recipe, bank, out, validate, task, fabric, tell if first else None, left_out)
        net = trainer.run(_recorder(out, on_step) if first else None)
        if first:
            card = _export(trainer, net, recipe, out)
        fabric.barrier()
    return card if first else read_card(out / recipe.name)


def _try(recipe: Recipe, task: Task) -> None:
    """Build once what needs no data, so that a recipe that cannot be is refused before they are loaded."""
    check_starts(recipe)
    _check_inference(recipe)
    with torch.random.fork_rng(devices=[]):
        net = task.build(recipe)
    keep_fixed(net, recipe.optim.only)
    weights = task.weights(recipe, net)
    if weights and not any(weights.values()):
        raise InputError(
            "All terms of the recipe's loss weigh 0, so nothing would be learned; give one of them in "
            "[loss.terms] a weight above 0."
        )
    task.samples(recipe, EpisodeBank(), recipe.optim.steps)


def _check_inference(recipe: Recipe) -> None:
    """[inference] by name and kind; networks that answer nothing by themselves have none to check."""
    role = backends.role(recipe.backend)
    if role not in ("click", "edges"):
        return
    known = EdgeOptions() if role == "edges" else backends.get_click(recipe.backend).inference
    inference = known.with_options(**recipe.inference)
    check_inference(recipe.inference, known)
    if isinstance(inference, Inference):
        window_rule(check_settings(inference))
        for helper in filter(None, (inference.thin, inference.small)):
            Store().find(helper)


def _recorder(out: Path, on_step: Callable[[Progress], object] | None) -> Callable[[Progress], None]:
    """Writes ``log.csv`` step by step and tells the caller."""
    log: Log | None = None

    def record(progress: Progress) -> None:
        nonlocal log
        try:
            if log is None:
                log = Log(out / "log.csv", progress.step - 1)
            log.add(progress)
        except SaveError:  # an OSError that says all this already
            raise
        except OSError as error:
            raise SaveError(
                f"The log {out / 'log.csv'} could not be written: {error.strerror or error}."
            ) from error
        if on_step is not None:
            on_step(progress)

    return record


def _export(trainer: Trainer, net: nn.Module, recipe: Recipe, out: Path) -> ModelCard:
    best = out / "best.ckpt"
    if (out / "log.csv").exists():
        plot_curves(out / "log.csv", out / "curves.png")
    state, step, scores, by = checkpoint_state(best if best.exists() else out / "last.ckpt")
    if recipe.optim.start_share:
        # What was learned last is seldom all that was known before (WiSE-FT, arXiv 2109.01903).
        state = between(state, trainer.build().state_dict(), recipe.optim.start_share)
    told: dict[str, Any] = {"steps": recipe.optim.steps, "exported_step": step, "seconds": trainer.seconds}
    if trainer.validate is None:
        told["validation"] = UNSCORED
    elif scores:
        # What lies on the way back to the start was not scored itself.
        name = "validation_before_start_share" if recipe.optim.start_share else "validation"
        limits = {name: by[name] for name in ("objects", "max_clicks") if name in by}
        told[name] = {key: round(value, 4) for key, value in scores.items()} | limits
    told[ENTRY] = trainer.held_out
    told |= {"sampling": recipe.sampling, "samples": _drawn(trainer, recipe)}
    told["loss"] = {**asdict(recipe.loss), "terms": recipe.loss.terms | trainer.task.weights(recipe, net)}
    return export(recipe, state, out / recipe.name, told)


def _drawn(trainer: Trainer, recipe: Recipe) -> dict[str, Any]:
    """What samples were drawn by, defaults among it; tables of published settings are left out."""
    options = getattr(trainer.samples, "options", None)
    known = vars(options) if is_dataclass(options) else {}
    return {name: value for name, value in known.items() if not is_dataclass(value)} | recipe.samples
