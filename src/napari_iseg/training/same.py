"""Whether a run's folder holds the run of a recipe: what decides the weights is kept there and compared."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

from napari_iseg.errors import InputError, SaveError
from napari_iseg.evaluation.report import probe_folder
from napari_iseg.files import write_text
from napari_iseg.training.recipe import Recipe

# What may change between two starts of one run: it decides how long, how fast and how it is scored and told.
# The precision is the way on after gradients that were not finite; start_share is applied at each export.
_FREE: Final = frozenset(
    {
        "title",
        "precision",
        "accelerator",
        "workers",
        "keep_every",
        "card",
        "data.licence",
        "optim.steps",
        "optim.decay_from",
        "optim.start_share",
        "validation.every",
        "validation.objects",
        "validation.max_clicks",
        "validation.sets",
    }
)
_OLD: Final = ("name", "backend", "variant", "seed", "optim.batch", "samples")  # all that older marks hold
_UNSET: Final = object()


def claim(recipe: Recipe, out: Path, *, write: bool = True) -> None:
    """Refuse a folder that holds a run of another recipe; otherwise mark it as this one's.

    Parameters
    ----------
    write : False only compares, and tries whether something could be written: before data are loaded, and for
        all processes of a run but its first

    Raises
    ------
    InputError
        The sentence names the first entry that differs; SaveError when the folder cannot be written.
    """
    mark = out / "recipe.txt"
    try:
        if not write:
            probe_folder(out)
        if not mark.exists():
            if write:
                out.mkdir(parents=True, exist_ok=True)
                write_text(mark, json.dumps(decisive(recipe), indent=1) + "\n")
            return
        text = mark.read_text(encoding="utf-8")
    except SaveError:  # an OSError that says all this already
        raise
    except OSError as error:
        raise SaveError(
            f"The run's folder {out} cannot be used ({error.strerror or error}); give another --out."
        ) from None
    was, now = _parsed(text, recipe, mark)
    for where, old, new in _differences(was, now, ""):
        raise InputError(
            f"The folder {out} holds a run of another recipe, in which {where} was {_shown(old)} and not "
            f"{_shown(new)}; undo that change, or give another --out for a new run."
        )


def decisive(recipe: Recipe) -> dict[str, Any]:
    """What decides the weights, as JSON; entries at their default are left out.

    So an entry that a later version brings does not make another run of this one.
    """
    free = _FREE
    if recipe.sampling != "first-click":  # which learns from the squares that inference will show
        free = free | {"inference"}
    plain: dict[str, Any] = json.loads(json.dumps(_plain(recipe, "", free), default=str))
    return plain


def _plain(value: Any, where: str, free: frozenset[str]) -> Any:
    if isinstance(value, tuple):
        return [_plain(part, where, free) for part in value]
    if not is_dataclass(value):
        return value
    kept = {}
    for f in fields(value):
        path = f"{where}.{f.name}" if where else f.name
        entry = getattr(value, f.name)
        default = f.default if f.default_factory is MISSING else f.default_factory()
        if path not in free and entry != default:
            kept[f.name] = _plain(entry, path, free)
    return kept


def _parsed(text: str, recipe: Recipe, mark: Path) -> tuple[Any, Any]:
    """What the mark holds, and the same of the recipe; an older mark holds a tuple of few entries."""
    try:
        if text.startswith("{"):
            return json.loads(text), decisive(recipe)
        was = dict(zip(_OLD, ast.literal_eval(text), strict=True))
    except (ValueError, SyntaxError, TypeError):
        raise InputError(
            f"The folder {mark.parent} holds a run of another recipe, or its {mark.name} is damaged; give "
            "another --out or remove it."
        ) from None
    values = (recipe.name, recipe.backend, recipe.variant, recipe.seed, recipe.optim.batch, recipe.samples)
    return was, dict(zip(_OLD, values, strict=True))


def _differences(was: Any, now: Any, where: str) -> Iterator[tuple[str, Any, Any]]:
    """The entries that differ: name, value before, value now."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for key in [*was, *(key for key in now if key not in was)]:
            name = f"{where}.{key}" if where else str(key)
            yield from _differences(was.get(key, _UNSET), now.get(key, _UNSET), name)
    elif _tables(was) and _tables(now):
        for number, (old, new) in enumerate(zip_longest(was, now, fillvalue=_UNSET), 1):
            yield from _differences(old, new, f"{where} {number}")
    elif was != now:
        # A table that stands on one side only is told by its first entry.
        if _UNSET in (was, now) and any(isinstance(side, Mapping) for side in (was, now)):
            empty: dict[str, Any] = {}
            yield from _differences(empty if was is _UNSET else was, empty if now is _UNSET else now, where)
        else:
            yield where, was, now


def _tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(part, Mapping) for part in value)


def _shown(value: Any) -> str:
    return "left out (its default)" if value is _UNSET else repr(value)
