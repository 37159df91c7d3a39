"""``napari-iseg train``: train a model by a recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_iseg.backends import role
from napari_iseg.cli.common import bars, console, errors, need_extra, print_json
from napari_iseg.cli.stopping import StoppedError
from napari_iseg.errors import InputError

if TYPE_CHECKING:
    from napari_iseg.backends.cards import ModelCard


def train(
    recipe: Annotated[
        Path, typer.Argument(help="A recipe (TOML); recipes/ in the repository has some to copy.")
    ],
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data sets; default: $NAPARI_ISEG_DATA, or here.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default: runs/NAME.")] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Train so many steps instead of the recipe's.")
    ] = None,
    devices: Annotated[int | None, typer.Option(min=1, help="Number of GPUs; default: the recipe's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train a model by a recipe. Ctrl-C keeps the steps until then; started again, it goes on from there.

    Example: napari-iseg train recipes/cfr-icl-starter-stage1.toml --data ~/data
    """
    if recipe.is_dir():
        raise InputError(f"{recipe} is a folder; give the recipe in it, a .toml file.")
    need_extra("train", "cv2", "lightning_fabric")
    from napari_iseg.training.fit import is_first_process
    from napari_iseg.training.held_out import UNSCORED
    from napari_iseg.training.log import Progress as Step
    from napari_iseg.training.recipe import read_recipe
    from napari_iseg.training.run import train as run

    plan = read_recipe(recipe)
    if steps is not None:
        plan = replace(plan, optim=replace(plan.optim, steps=steps))
    if devices is not None:
        plan = replace(plan, devices=devices)
    folder = out or Path("runs") / plan.name
    shown = bars(seen=is_first_process())
    task = shown.add_task(plan.name, total=plan.optim.steps)

    def show(step: Step) -> None:
        shown.start()  # not before: until the first step all may be refused
        shown.update(task, completed=step.step, description=f"{plan.name}  loss {step.loss:.3f}")
        if step.scores:
            scores = ", ".join(f"{name} {value:.3f}" for name, value in step.scores.items())
            errors.print(f"step {step.step}: {scores}")

    try:
        card = run(
            plan,
            folder,
            data,
            on_step=show,
            on_set=lambda name, n: errors.print(f"{name}: {n} pictures"),
            tell=errors.print,
        )
        shown.start()
        shown.update(task, completed=plan.optim.steps)  # a run that was finished before takes no step
    except KeyboardInterrupt:
        if not (folder / "last.ckpt").exists():
            raise
        raise StoppedError(f"Stopped; the same command goes on with the steps kept in {folder}.") from None
    finally:
        shown.stop()
    if not is_first_process():
        return  # on several devices this command runs once for each
    if card.training.get("validation") == UNSCORED:
        errors.print(f"validation: {UNSCORED}")
    if as_json:
        print_json(
            {"model": card.name, "folder": card.folder, "log": folder / "log.csv", "sha256": card.sha256}
        )
    else:
        console.print(f"{card.title}: use it by its folder, as in {_how_to_use(card)}")


def _how_to_use(card: ModelCard) -> str:
    """What takes a model of that role."""
    ways = {
        "edges": f"`napari-iseg segment --refine-edges {card.folder}`",
        "thin": f"a click model's card: [inference] thin = '{card.folder}'",
        "small": f"a click model's card: [inference] small = '{card.folder}'",
        "training": f"a recipe: [loss] guide = '{card.folder}'",
    }
    return ways.get(role(card.backend), f"`napari-iseg segment --model {card.folder}`")
