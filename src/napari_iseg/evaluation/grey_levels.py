"""Masks and maps of fine edges as grey levels, however they are stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError

Levels = npt.NDArray[np.uint8]
_TRUE = 128  # a level above it is the object, as the published truths are read


def levels_and_mask(
    prediction: npt.NDArray[Any], truth: npt.NDArray[Any]
) -> tuple[Levels, npt.NDArray[np.bool_]]:
    """Levels of the prediction and mask of the truth, (H, W) alike; InputError for anything else."""
    shapes = np.shape(prediction), np.shape(truth)
    if len(shapes[0]) != 2 or shapes[0] != shapes[1]:
        raise InputError(f"Prediction and truth must be (H, W) alike, got {shapes[0]}, {shapes[1]}.")
    return levels_of(prediction), levels_of(truth) > _TRUE


def levels_of(picture: npt.NDArray[Any]) -> Levels:
    """Grey levels 0..255 of a bool mask, a probability in [0, 1], or whole numbers.

    Whole numbers are grey levels, unless there are no others than 0 and 1: then they are a mask.

    Raises
    ------
    InputError
        For values that are none of these, as NaN, or a probability above 1.
    """
    values = np.asarray(picture)
    numbers = values.size > 0 and values.dtype.kind in "buif"
    low, high = (values.min(), values.max()) if numbers else (-1, -1)
    if not 0 <= low <= high <= (1 if values.dtype.kind == "f" else 255):  # nor is it for NaN
        raise InputError(
            "A mask or map holds bool, probabilities from 0 to 1, or whole numbers from 0 to 255 (0 and 1 "
            f"alone are a mask), got {_said(values)}; scale it to one of these."
        )
    if values.dtype.kind == "f":
        return np.asarray(values.astype(np.float64) * 255, np.uint8)
    return np.asarray(values, np.uint8) * np.uint8(255 if high <= 1 else 1)


def _said(values: npt.NDArray[Any]) -> str:
    if not values.size:
        return "no pixels"
    if values.dtype.kind not in "buif":
        return f"values of type {values.dtype}"
    return f"{values.dtype} from {values.min()} to {values.max()}"
