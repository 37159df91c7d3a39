"""From a finished run to a model folder: half-precision safetensors with a card, and the curves as a
picture.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_iseg import backends
from napari_iseg.backends.cards import ModelCard, write_card
from napari_iseg.training.recipe import Recipe
from napari_iseg.weights.safetensors_writer import write_safetensors


def export(
    recipe: Recipe, state: Mapping[str, Tensor], folder: Path, training: Mapping[str, Any]
) -> ModelCard:
    """Write ``model.safetensors`` (float16) and ``card.toml`` into ``folder``.

    Parameters
    ----------
    state : the averaged network's state dict, own key names
    training : what the card tells of the run: steps, seconds, scores

    Raises
    ------
    SaveError
        When the folder cannot be written; what was there before is untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "model.safetensors"
    write_safetensors(
        weights,
        {key: tuple(value.shape) for key, value in state.items()},
        {key: str(value.dtype).removeprefix("torch.") for key, value in state.items()},
        lambda key: state[key].detach().cpu(),
        {"format": "pt"},
        half=True,
    )
    backend = backends.get(recipe.backend)
    data = [
        {"set": entry.path, "weight": entry.weight, "licence": entry.licence or "not stated"}
        for entry in recipe.data
    ]
    entries = {
        "good_at": backend.good_at,
        "title": recipe.title or recipe.name,
        "licence": "BSD-3-Clause",
        **recipe.card,
    }
    card = ModelCard(
        name=recipe.name,
        backend=recipe.backend,
        variant=recipe.variant,
        prompts=tuple(sorted(backend.prompts & {"click", "box"})),
        sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        size_bytes=weights.stat().st_size,
        names="own",
        inference=recipe.inference,
        training={
            **training,
            "seed": recipe.seed,
            "optim": asdict(recipe.optim),
            "loss": asdict(recipe.loss),
            "data": data,
        },
        folder=folder,
        **entries,
    )
    write_card(card, folder)
    return card


def checkpoint_state(path: Path) -> dict[str, Tensor]:
    """The averaged weights of ``best.ckpt`` or ``last.ckpt``."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    state: dict[str, Tensor] = saved.get("average", saved["net"])
    return state


def plot_curves(log: Path, target: Path) -> None:
    """``log.csv`` as a PNG: loss (smoothed) and validation NoC@85 over steps."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    with log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        return
    steps, losses = [int(r["step"]) for r in rows], [float(r["loss"]) for r in rows]
    scored = [(int(r["step"]), float(r["noc"])) for r in rows if r["noc"]]
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    axes.plot(steps, _smooth(losses), color="tab:blue")
    axes.set(xlabel="step", ylabel="training loss per forward")
    if scored:
        other = axes.twinx()
        other.plot(*zip(*scored, strict=True), "o-", color="tab:orange")
        other.set_ylabel("validation NoC@85 (orange)")
    figure.savefig(target, dpi=120)
    plt.close(figure)


def _smooth(values: list[float], memory: float = 0.95) -> list[float]:
    smoothed: list[float] = []
    for value in values:
        smoothed.append(memory * smoothed[-1] + (1 - memory) * value if smoothed else value)
    return smoothed
