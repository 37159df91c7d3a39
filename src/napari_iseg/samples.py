"""Pictures to try things on, all offline: made by sample_data/make.py, or shipped inside scikit-image."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError

_MADE: dict[str, tuple[tuple[float, ...], tuple[str, ...], bool]] = {  # scale, units, rgb
    "cells": ((0.325, 0.325), ("micrometer", "micrometer"), False),
    "organelles": ((40.0, 8.0, 8.0), ("nanometer", "nanometer", "nanometer"), False),
    "aerial": ((0.25, 0.25), ("meter", "meter"), True),
}
_SKIMAGE: dict[str, tuple[str, bool]] = {  # function of skimage.data whose file is in its wheel, rgb
    "coins": ("coins", False),
    "cell": ("cell", False),
    "tissue": ("immunohistochemistry", True),
    "retina": ("retina", True),
}


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One picture and what is known about it.

    Attributes
    ----------
    name
        As `sample` takes it.
    image : (Y, X), (Z, Y, X) or (Y, X, 3) uint8 or uint16
        The picture.
    labels : (Y, X) or (Z, Y, X) uint16, or None
        0 is background; None where nobody knows the truth.
    scale
        Size of a pixel along every axis except colour; None when unknown.
    units
        Pint names of the units of ``scale``; None when unknown.
    rgb
        Whether the last axis is colour.
    """

    name: str
    image: npt.NDArray[Any]
    labels: npt.NDArray[np.uint16] | None
    scale: tuple[float, ...] | None
    units: tuple[str, ...] | None
    rgb: bool


def sample_names() -> list[str]:
    """Names that :func:`sample` knows; those with true labels come first."""
    return [*_MADE, *_SKIMAGE]


def sample(name: str) -> Sample:
    """Read one sample picture.

    Raises
    ------
    InputError
        When there is no sample of that name, or the installation lacks its file.
    """
    if not isinstance(name, str):
        raise InputError(f"A sample is read by its name, one of {', '.join(sample_names())}; got {name!r}.")
    if name in _MADE:
        return _made(name)
    if name in _SKIMAGE:
        from skimage import data

        function, rgb = _SKIMAGE[name]
        return Sample(name, np.asarray(getattr(data, function)()), None, None, None, rgb)
    near = get_close_matches(name, sample_names(), n=1)
    hint = f"did you mean {near[0]!r}; " if near else ""
    raise InputError(f"There is no sample {name!r}; {hint}available are {', '.join(sample_names())}.")


def sample_folder() -> Path:
    """Where the made pictures lie: in the installed package, or in the checkout it runs from."""
    installed = Path(__file__).parent / "_assets" / "sample_data"
    checkout = Path(__file__).parents[2] / "sample_data"
    return installed if installed.is_dir() else checkout


def _made(name: str) -> Sample:
    import tifffile

    scale, units, rgb = _MADE[name]
    arrays = []
    for stem in (name, f"{name}_labels"):
        path = sample_folder() / f"{stem}.tif"
        if not path.is_file():
            raise InputError(f"The sample file {path} is missing; install napari-iseg again.")
        arrays.append(tifffile.imread(path))
    return Sample(name, arrays[0], arrays[1], scale, units, rgb)
