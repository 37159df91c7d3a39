"""What was run, for reports: which weights in which settings, on which objects of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from napari_iseg import __version__, backends

if TYPE_CHECKING:
    from napari_iseg.backends.base import Inference
    from napari_iseg.backends.cards import ModelCard
    from napari_iseg.backends.model import Model
    from napari_iseg.evaluation.datasets import Dataset


def told_name(model: Model) -> str:
    """The model's name and the settings in which it is not run as its card says, with their values.

    Of a network of the user's own, whose backend is none of ours, those that are not the usual ones.
    """
    card = model.card
    if card.backend in backends.BACKENDS:
        usual = backends.get_click(card.backend).inference_for(card.variant)
    else:
        usual = type(model.inference)()
    usual = usual.with_options(**card.inference)
    changed = [f"{name} = {_told(value)}" for name, value in _changes(model.inference, usual).items()]
    return f"{card.name} ({', '.join(changed)})" if changed else card.name


def how_run(method: Any, data: Dataset, **chosen: Any) -> dict[str, Any]:
    """What a report keeps of a run.

    Parameters
    ----------
    method : of a model (its ``model``), another one, or None where no method answers
    chosen : options of the choice of objects, kept as they are
    """
    table: dict[str, Any] = {"version": __version__, "split": data.part, "min_area": data.min_area, **chosen}
    model = getattr(method, "model", None)
    if model is not None and hasattr(model, "card"):  # else a method's own net, or whatever
        table |= {"weights_sha256": weights_sha256(model.card), "precision": model.precision}
        table["device"] = str(model.device)
        if hasattr(model, "inference"):  # not of a model for thin structures
            table["inference"] = _plain(model.inference)
    return table


def how_refined(refiner: Any) -> dict[str, Any]:
    """The same of what refines the edges of masks; nothing of what is no model of ours."""
    if not (hasattr(refiner, "card") and hasattr(refiner, "options")):
        return {}
    return {"refiner_sha256": weights_sha256(refiner.card), "refiner": _plain(refiner.options)}


def weights_sha256(card: ModelCard) -> str:
    """The checksum of a model's weights, "" where it has no file."""
    if card.sha256 or not card.is_local or card.weights_path is None:
        return card.sha256
    from napari_iseg.weights.verify import sha256_of

    return sha256_of(card.weights_path)


def run_lines(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: one line per run; of its inference settings those that are not CFR-ICL's published ones."""
    return "\n".join(f"* {name}: {_line(run)}" for name, run in runs.items() if run)


def _plain(settings: Any) -> dict[str, Any]:
    """A dataclass as JSON will give it back."""
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in asdict(settings).items()
    }


def _line(run: Mapping[str, Any]) -> str:
    from napari_iseg.backends.base import Inference

    plain = {name: value for name, value in run.items() if name != "inference"}
    settings, usual = run.get("inference") or {}, _plain(Inference())
    plain |= {name: value for name, value in settings.items() if value != usual.get(name) or name == "size"}
    return ", ".join(f"{name} {_told(value)}" for name, value in plain.items() if value not in ("", []))


def _changes(now: Inference, usual: Inference) -> dict[str, Any]:
    pairs = {f.name: (getattr(now, f.name), getattr(usual, f.name)) for f in fields(now)}
    return {name: value for name, (value, before) in pairs.items() if value != before}


def _told(value: Any) -> str:
    """A value as in a recipe; None, which TOML has not, means all."""
    if value is None:
        return "all"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return " x ".join(map(str, value))
    return "off" if value == "" else str(value)
