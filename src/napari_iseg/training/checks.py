"""What the values of a recipe may be; a wrong one is refused before anything is loaded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import MappingProxyType
from typing import Any, Final, TypeVar

from napari_iseg.errors import InputError
from napari_iseg.evaluation.arguments import KINDS

T = TypeVar("T")
# Least values, by the entry's path; those of [samples] are free entries that every sampling shares.
_LEAST: Final[Mapping[str, float]] = MappingProxyType(
    {
        "seed": 0,
        "workers": 0,
        "keep_every": 1,
        "optim.steps": 1,
        "optim.batch": 1,
        "optim.weight_decay": 0,
        "optim.warmup": 0,
        "optim.decay_from": 1,
        "loss.gamma": 0,
        "loss.max_forwards": 1,
        "loss.free_forwards": 0,
        "loss.dice": 0,
        "loss.quality": 0,
        "validation.every": 1,
        "validation.seed": 0,
        "validation.objects": 1,
        "validation.max_clicks": 1,
        "scenes.count": 0,
        "scenes.size": 96,  # smaller ones often hold no object
        "scenes.weight": 0,
        "data.weight": 0,
        "data.axis": 0,
        "data.step": 1,
        "samples.crowds": 0,
    }
)
_LARGEST_SIDE: Final = 8192  # pixels of a sample
_ABOVE_ZERO: Final = ("optim.rate", "optim.clip")  # at 0 nothing is learned
_COUNTS: Final = frozenset(
    f"samples.{name}" for name in ("size", "late_size", "objects", "supports", "max_clicks")
)
_LARGEST_SEED: Final = 2**63 - 1  # of torch's generator; TOML knows no larger number either
# What is drawn has between `least` and this much of the window's side, see `bank.draw_cut`.
_MOST_LEAST: Final = 1.8
_SIDES: Final = ("samples.size", "samples.late_size", "scenes.size")
_SHARES: Final = frozenset(
    {
        "optim.average",
        "optim.start_share",
        "loss.alpha",
        "loss.free_share",
        "validation.share",
        *(
            f"samples.{name}"
            for name in (
                "suem",
                "coarse",
                "superpixels",
                "close",
                "centred",
                "vary",
                "whole",
                "tiles",
                "drop_mask",
                "drop_box",
                "first_share",
                "anywhere",
                "empty_same",
                "empty_other",
                "truth_from",
                "truth_to",
                "no_previous",
                "wrong_previous",
            )
        ),
        "inference.zoom_keep_iou",
        "inference.search_settled",
    }
)
_BETWEEN: Final = ("inference.threshold", "inference.zoom_threshold")  # at 0 all is object, at 1 nothing
# The network is trained in 32 bits or by mixed precision: the average of its weights is kept in 32 bits.
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "precision": ("32-true", "16-mixed", "bf16-mixed"),
        "accelerator": ("auto", "cpu", "cuda"),
        "data.kind": ("", *KINDS),
        "scenes.kind": ("objects", "thin", "mixed"),
    }
)
_CARD: Final = ("title", "good_at", "description", "licence", "licence_url", "source", "manual_url")


def check(recipe: Any) -> None:
    """Refuse a recipe with a value that cannot be.

    Raises
    ------
    InputError
        The sentence names the entry, what it is, and what it may be.
    """
    for path, value in _entries(recipe, ""):
        if value is not None:
            _check_value(path, value)
    _check_name(recipe.name)
    _check_devices(recipe.devices)
    _check_card(recipe.card)
    weights = [entry.weight for entry in recipe.data]
    weights += [recipe.scenes.weight] if recipe.scenes.count else []
    if weights and not any(weights):
        raise InputError(
            "The weights of all sets in the recipe are 0; give one of [[data]] a weight above 0."
        )


def check_like(path: str, value: Any, known: Any) -> None:
    """Refuse a value of another kind than a known one of the same entry; None tells of no kind.

    Raises
    ------
    InputError
        The sentence names the entry, what it is, and what it may be.
    """
    if path == "inference.refine_clicks" and value == "all":  # TOML has no None
        return
    if isinstance(known, tuple):
        parts = value if isinstance(value, (list, tuple)) else (None,)
        if not all(type(part) in (int, float) for part in parts):
            _refuse(path, value, "a list of numbers")
    for kind, words in ((bool, "true or false"), (str, "text")):
        if isinstance(known, kind) and not isinstance(value, kind):
            _refuse(path, value, words)
    if type(known) in (int, float) and type(value) not in (int, float):
        _refuse(path, value, "a number")


def check_inference(options: Mapping[str, Any], known: Any) -> None:
    """Refuse values of [inference] that cannot be; ``known`` has one of each kind as its attributes.

    Raises
    ------
    InputError
        The sentence names the entry, what it is, and what it may be.
    """
    for name, value in options.items():
        check_like(f"inference.{name}", value, getattr(known, name))
        _check_value(f"inference.{name}", value)


def check_lengths(recipe: Any, given: Mapping[str, Any]) -> None:
    """Refuse a warm-up or a fall of the rate that begins after the last step.

    Only what a recipe gives by itself: it may be tried with fewer steps.

    Raises
    ------
    InputError
        The sentence names the entry, what it is, and what it may be.
    """
    for name in ("warmup", "decay_from"):
        if name in given and given[name] > recipe.optim.steps:
            _refuse(f"optim.{name}", given[name], f"at most steps, which is {recipe.optim.steps}")


def options_of(kind: type[T], samples: Mapping[str, Any], what: str, also: tuple[str, ...] = ()) -> T:
    """The entries of [samples] as the options of one kind of sampling.

    Parameters
    ----------
    kind : a dataclass; what has no plain default in it is not for recipes
    what : what the options are to fit, in words
    also : further valid names, for the refusal

    Raises
    ------
    InputError
        For an unknown entry, with the valid ones, or one of another kind than its default.
    """
    known = {f.name: f.default for f in fields(kind) if f.default is not MISSING}  # type: ignore[arg-type]
    for name, value in samples.items():
        if name not in known:
            valid = ", ".join((*known, *also))
            raise InputError(
                f"The recipe's [samples] do not fit {what}: there is no {name!r}; valid are {valid}."
            )
        check_like(f"samples.{name}", value, known[name])
    return kind(**samples)


def _entries(table: Any, where: str) -> Iterator[tuple[str, Any]]:
    """(path, value) of all entries, those of [[data]] and [samples] among them."""
    for f in fields(table):
        path, value = f"{where}{f.name}", getattr(table, f.name)
        if is_dataclass(value):
            yield from _entries(value, f"{path}.")
        elif path == "data":
            for entry in value:
                yield from _entries(entry, "data.")
        elif path in ("samples", "loss.terms"):
            yield from ((f"{path}.{name}", option) for name, option in value.items())
        else:
            yield path, value


def _check_value(path: str, value: Any) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and not math.isfinite(value):
        _refuse(path, value, "a finite number")
    if path in _SHARES and not (number and 0 <= value <= 1):
        _refuse(path, value, "a number from 0 to 1")
    if path in _ABOVE_ZERO and not (number and value > 0):
        _refuse(path, value, "a number above 0")
    if path in _BETWEEN and not (number and 0 < value < 1):
        _refuse(path, value, "a number between 0 and 1")
    if path == "samples.least" and not (number and 0 < value <= _MOST_LEAST):
        _refuse(path, value, f"a number above 0 and at most {_MOST_LEAST}")
    if path == "seed" and number and value > _LARGEST_SEED:
        _refuse(path, value, f"below {_LARGEST_SEED + 1}")
    if path in _SIDES and number and value > _LARGEST_SIDE:
        _refuse(path, value, f"at most {_LARGEST_SIDE} pixels")
    if path.startswith("loss.terms.") and not (number and value >= 0):
        _refuse(path, value, "a number of at least 0")
    if path in _COUNTS and not (number and isinstance(value, int) and value >= 1):
        _refuse(path, value, "a whole number of at least 1")
    if path in _LEAST and not (number and value >= _LEAST[path]):
        _refuse(path, value, f"a number of at least {_LEAST[path]}")
    if path in _CHOICES and value not in _CHOICES[path]:
        _refuse(path, value, " or ".join(repr(choice) for choice in _CHOICES[path]))


def _refuse(path: str, value: Any, valid: str) -> None:
    where, _, name = path.rpartition(".")
    table = {"": "", "data": " in [[data]]"}.get(where, f" in [{where}]")
    raise InputError(f"The recipe's {name}{table} must be {valid}, got {value!r}.")


def _check_name(name: str) -> None:
    """The name becomes a folder in the run's."""
    if not name.strip() or name in (".", "..") or any(sign in name for sign in "/\\\0"):
        _refuse("name", name, "the name of one folder, as 'my-model', without slashes")


def _check_devices(devices: Any) -> None:
    if devices == "auto" or (isinstance(devices, str) and devices.isascii() and devices.isdigit()):
        devices = 1 if devices == "auto" else int(devices)
    if not isinstance(devices, int) or devices < 1:
        _refuse("devices", devices, "a whole number of at least 1, or 'auto'")


def _check_card(card: Mapping[str, Any]) -> None:
    """Found only at the export, a wrong entry would come after the whole training."""
    for name, value in card.items():
        if name not in _CARD:
            raise InputError(
                f"The recipe has an unknown entry {name!r} in [card]; valid are {', '.join(_CARD)}."
            )
        if not isinstance(value, str):
            _refuse(f"card.{name}", value, "text")
