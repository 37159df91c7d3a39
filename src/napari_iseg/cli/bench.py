"""``napari-iseg bench``: how fast models are on this machine."""

from __future__ import annotations

from typing import Annotated, Any, cast

import typer

from napari_iseg.cli.common import console, errors, print_json
from napari_iseg.cli.evaluate_fewshot import is_fewshot
from napari_iseg.errors import InputError


def bench(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL]...", help="Names or paths; default: all click models that are here."),
    ] = None,
    size: Annotated[int, typer.Option(min=32, help="Side of the image or tile in pixels.")] = 512,
    repeats: Annotated[int, typer.Option(min=1, help="The median of so many rounds is given.")] = 3,
    threads: Annotated[int, typer.Option(min=0, help="Threads of the model; 0: as the library likes.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Time what a person waits for: a click, a tile of a few-shot run, a refined window.

    Example: napari-iseg bench cfr-icl-starter training-free --threads 2
    """
    import torch

    from napari_iseg.backends.base import as_device
    from napari_iseg.weights.store import list_models

    where = str(as_device(device))
    if threads:
        torch.set_num_threads(threads)
    names = models or [card.name for card in list_models() if card.is_local and "click" in card.prompts]
    if not names:
        raise InputError("There is no model here; run `napari-iseg models fetch NAME`, or name one.")
    results = []
    for name in names:
        with errors.status(name):
            found, how = _measured(name, size, repeats, device, precision)
        results.append({"model": name, "device": where, "precision": how, "seconds": found})
        if not as_json:
            times = ", ".join(f"{what} {1000 * seconds:.0f} ms" for what, seconds in found.items())
            console.print(f"{name} ({where}, {how}, {size} x {size}): {times}")
    if as_json:
        print_json({"size": size, "threads": torch.get_num_threads(), "repeats": repeats, "models": results})


def _measured(
    name: str, size: int, repeats: int, device: str, precision: str
) -> tuple[dict[str, float], str]:
    """Seconds by what is waited for, and the precision that it was computed in."""
    from napari_iseg.backends import role
    from napari_iseg.evaluation.speed import click_speed, edge_speed, fewshot_speed
    from napari_iseg.fewshot.models import load_fewshot
    from napari_iseg.weights.store import as_click_model, load_model

    if is_fewshot(name):
        method = load_fewshot(name, device=device, precision=precision)
        if hasattr(method, "predict_unit"):
            raise InputError(f"{name} copies masks between slices, there is nothing to time; name a model.")
        learned = getattr(method, "model", None)  # what is not learned computes in float32
        return fewshot_speed(method, size, repeats), getattr(learned, "precision", "float32")
    model = load_model(name, device=device, precision=precision)
    if role(model.card.backend) == "edges":
        return edge_speed(cast(Any, model), size, repeats), model.precision
    return click_speed(as_click_model(model), size, repeats), model.precision
