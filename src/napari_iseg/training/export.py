"""From a finished run to a model folder: safetensors with a card, and the curves as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from napari_iseg import backends
from napari_iseg.backends.cards import ModelCard, write_card
from napari_iseg.errors import CheckpointError
from napari_iseg.evaluation.plots import new_figure, save_figure
from napari_iseg.training.log import TERM, read_log
from napari_iseg.training.recipe import Recipe
from napari_iseg.training.whole import check_finite, check_whole, first_line
from napari_iseg.weights.safetensors_writer import what_it_is, write_safetensors
from napari_iseg.weights.verify import all_finite, sha256_of


def export(
    recipe: Recipe, state: Mapping[str, Tensor], folder: Path, training: Mapping[str, Any]
) -> ModelCard:
    """Write ``model.safetensors`` and ``card.toml`` into ``folder``.

    Weights are stored as float16, or as they are where one of them is too large for that.

    Parameters
    ----------
    state : the averaged network's state dict, own key names
    training : what the card tells of the run: steps, the exported step, seconds, scores; goes before the
        recipe's entries

    Raises
    ------
    CheckpointError
        When the weights hold NaN or infinity.
    SaveError
        When the folder cannot be written; what was there before is untouched.
    """
    check_finite(state)
    weights = folder / "model.safetensors"
    write_safetensors(
        weights,
        {key: tuple(state[key].shape) for key in sorted(state)},  # the order in which a reader lists them
        {key: str(value.dtype).removeprefix("torch.") for key, value in state.items()},
        lambda key: state[key].detach().cpu(),
        what_it_is(recipe.backend, recipe.variant, "own"),  # an import keeps its SHA-256
        half=all(all_finite(value.half()) for value in state.values() if value.is_floating_point()),
    )
    backend = backends.get(recipe.backend)
    data = [
        {"set": entry.path, "weight": entry.weight, "licence": entry.licence or "not stated"}
        for entry in recipe.data
    ]
    entries = {
        "good_at": backend.good_at,
        "title": recipe.title or recipe.name,
        "licence": _licence(recipe),
        **recipe.card,
    }
    card = ModelCard(
        name=recipe.name,
        backend=recipe.backend,
        variant=recipe.variant,
        prompts=tuple(sorted(backend.prompts)),
        sha256=sha256_of(weights),
        size_bytes=weights.stat().st_size,
        names="own",
        inference=recipe.inference,
        training={
            "seed": recipe.seed,
            "optim": asdict(recipe.optim),
            "loss": asdict(recipe.loss),
            "data": data,
            **training,
        },
        folder=folder,
        **entries,
    )
    write_card(card, folder)
    return card


def _licence(recipe: Recipe) -> str:
    """Nobody can give weights away that were learned from data of an unknown licence."""
    unknown = [entry.path for entry in recipe.data if not entry.licence]
    return f"not stated (the recipe gives none for {', '.join(unknown)})" if unknown else "BSD-3-Clause"


class Kept(NamedTuple):
    """What a checkpoint keeps of the averaged network; scores, and what they were taken by, may be empty."""

    state: dict[str, Tensor]
    step: int
    scores: dict[str, float]
    scored_by: dict[str, Any]


def checkpoint_state(path: Path) -> Kept:
    """The averaged weights of ``best.ckpt`` or ``last.ckpt``, and what is known of them.

    Raises
    ------
    CheckpointError
        When the file is damaged.
    """
    try:
        check_whole(path)
        saved = torch.load(path, map_location="cpu", weights_only=True)
        state: dict[str, Tensor] = saved["average"] if "average" in saved else saved["net"]
        scored_by = dict(saved.get("scored_by", {}))  # older checkpoints do not know
        return Kept(state, int(saved["step"]), dict(saved.get("scores", {})), scored_by)
    except Exception as error:  # a damaged file is told by whatever its reader stumbles on
        raise CheckpointError(
            f"The checkpoint {path} cannot be read ({first_line(error)}); restore it, or delete it: without "
            "best.ckpt the last step's weights are exported."
        ) from None


def between(state: Mapping[str, Tensor], start: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Weights ``share`` of the way back to where training started; what is no number stays as trained."""
    return {
        key: torch.lerp(value.float(), start[key].float(), share) if value.is_floating_point() else value
        for key, value in state.items()
    }


def plot_curves(log: Path, target: Path) -> None:
    """``log.csv`` as a PNG: loss, its unweighted terms (smoothed) and the validation score over steps.

    Raises
    ------
    SaveError
        When it cannot be written; a picture that was there before is untouched.
    """
    names, rows = read_log(log)
    if not rows:
        return
    terms = [name for name in names if name.startswith(TERM)]
    figure = new_figure()
    figure.set_size_inches(11 if terms else 7, 4)
    panels = figure.subplots(1, 2 if terms else 1, squeeze=False)[0]
    axes = panels[0]
    _draw(axes, rows, "loss", "training loss per forward")
    # An older log has no column "score"; there it is the NoC.
    scored = _column(rows, "score" if "score" in names else "noc")
    if scored[0]:
        other = axes.twinx()
        other.plot(*scored, "o-", color="tab:orange")
        other.set_ylabel("validation score, NoC@85 of click models (orange)")
    for name in terms:
        _draw(panels[1], rows, name, name.removeprefix(TERM))
    if terms:
        panels[1].set(xlabel="step", ylabel="unweighted terms", yscale="log")
        panels[1].legend()
    save_figure(figure, target)


def _draw(axes: Any, rows: list[dict[str, str]], name: str, label: str) -> None:
    steps, values = _column(rows, name)
    axes.plot(steps, _smooth(values), label=label)
    axes.set(xlabel="step", ylabel=label)


def _column(rows: list[dict[str, str]], name: str) -> tuple[list[int], list[float]]:
    """Steps and values of the rows that have one."""
    found = [(int(row["step"]), float(row[name])) for row in rows if row.get(name)]
    return [step for step, _ in found], [value for _, value in found]


def _smooth(values: list[float], memory: float = 0.95) -> list[float]:
    smoothed: list[float] = []
    for value in values:
        smoothed.append(memory * smoothed[-1] + (1 - memory) * value if smoothed else value)
    return smoothed
