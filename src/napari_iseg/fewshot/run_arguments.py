"""Arguments of `propagate` of another kind than they must be, refused before any work."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from napari_iseg.errors import InputError
from napari_iseg.fewshot.areas import Areas
from napari_iseg.fewshot.arguments import is_list, is_whole, shown
from napari_iseg.fewshot.control import Control
from napari_iseg.prompts import Window

_Kind = tuple[Callable[[Any], bool], str]  # whether a value is one, and what it is in words


def check_run(**given: Any) -> None:
    """Refuse arguments of ``propagate`` by their kind; what they name is looked for later."""
    for name, value in given.items():
        fits, words = _KINDS[name]
        if not fits(value):
            raise InputError(f"{name} {words}, got {shown(value)}.")
    axes, workers, only = given.get("axes"), given.get("workers", 1), given.get("only")
    if axes is not None and len(set(axes)) != len(tuple(axes)):
        raise InputError(f"Every axis needs a name of its own, as ('z', 'y', 'x'), got {shown(axes)}.")
    if is_whole(workers) and workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}.")
    if is_list(workers) and not len(workers):
        raise InputError("workers needs at least one device, like cuda:0.")
    if only is not None and not len(tuple(only)):
        raise InputError("only needs at least one label, as [1, 2]; leave it out for all.")


def _are_planes(chosen: Any) -> bool:
    return isinstance(chosen, slice) or (
        is_list(chosen)
        and all(
            is_whole(index) for place in chosen for index in (place if isinstance(place, tuple) else (place,))
        )
    )


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


def _at_least(least: int) -> Callable[[Any], bool]:
    return lambda value: is_whole(value) and value >= least


def _are_texts(value: Any) -> bool:
    return is_list(value) and all(isinstance(text, str) for text in value)


def _are_workers(value: Any) -> bool:
    return is_whole(value) or _are_texts(value)


def _optional(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


_PLANES: _Kind = (
    _optional(_are_planes),
    "are numbers along the slicing axis, as [3, 7] or range(3, 9), or tuples of them",
)
_FLAG: _Kind = (_is_flag, "is True or False")
_KINDS: dict[str, _Kind] = {
    "out": (
        lambda value: isinstance(value, str | os.PathLike),
        "is the name of the OME-Zarr group to make, as 'rest.zarr'",
    ),
    "planes": _PLANES,
    "supports": _PLANES,
    "only": (
        _optional(lambda value: is_list(value) and all(map(is_whole, value))),
        "is a list of labels, as [1, 2]",
    ),
    "region": (
        _optional(lambda value: isinstance(value, Window | Areas)),
        "is a Window(top, left, bottom, right) or Areas of polygons",
    ),
    "complete": (
        lambda value: _is_flag(value) or isinstance(value, Areas),
        "is True, False or Areas of polygons",
    ),
    "axes": (
        _optional(lambda value: isinstance(value, str) or _are_texts(value)),
        "are names, as ('z', 'y', 'x')",
    ),
    "tile": (is_whole, "is a whole number of pixels"),
    "halo": (is_whole, "is a whole number of pixels"),
    "sequential": _FLAG,
    "probability": _FLAG,
    "workers": (
        _are_workers,
        "is a number of processes, or a list with the device of each, as ['cuda:0', 'cuda:1']",
    ),
    "scheduler": (
        _optional(lambda value: isinstance(value, str)),
        "is the address of a Dask scheduler, as 'tcp://10.0.0.1:8786'",
    ),
    "threads": (_at_least(0), "is a whole number, 0 for as many as the library likes"),
    "batch": (_at_least(1), "is a whole number, at least 1"),
    "control": (_optional(lambda value: isinstance(value, Control)), "is a Control"),
    "listener": (_optional(callable), "is a function of one argument"),
}
