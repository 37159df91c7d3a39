"""From a window, a coarse mask and a box to the tensors of a refinement network, and back to a map.

Two ways are published. The data-set path is the one that training and validation take: everything is
resized on its own and cut to whole grey levels, and the box is drawn on the resized mask. The demo path is
the released notebook's: the box is drawn at the window's size, all five channels are resized together, and
the box alone is cut to black and white again. A third way is ours, see `contrasted`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_iseg.backends.edge_contrast import contrasted
from napari_iseg.errors import InputError
from napari_iseg.prompts import Box

Float = npt.NDArray[np.float32]
_CONSTANT = 1e-6
_SNAP = 1e-3  # a grey level this near to a whole one was whole before it was divided by 255


@dataclass(frozen=True, slots=True)
class Prepared:
    """Tensors for one window: ``image`` (1, 3, S, S), ``mask`` and ``box`` (1, 1, S, S), all in [0, 1]."""

    image: Tensor
    mask: Tensor
    box: Tensor


def data_set_input(image: Float, mask: npt.NDArray[Any], box: Box | None, size: int) -> Prepared:
    """The input as in training; see `EdgeModel.probability` for the arguments, ``size`` is S.

    Raises
    ------
    InputError
        For arrays that do not fit together, an empty mask without a box, or a box outside the window.
    """
    levels = _checked(image, mask, box)
    small = _whole_levels(_resized(torch.from_numpy(levels)[None, None], (size, size)))
    rows, cols = mask.shape
    if box is None:
        drawn = box_of_mask(small[0, 0].numpy())
    else:
        scale = size / rows, size / cols
        drawn = filled(_scaled(box, scale), (size, size))
    colours = _whole_levels(_resized(_levels_of_image(image), (size, size)))
    return Prepared(colours / 255, small / 255, torch.from_numpy(drawn)[None, None] / 255)


def contrast_input(image: Float, mask: npt.NDArray[Any], box: Box | None, size: int) -> Prepared:
    """As `data_set_input`, in the colours of `contrasted`: for networks that were trained so, like ours."""
    plain = data_set_input(image, mask, box, size)
    colours = plain.image[0].permute(1, 2, 0).numpy()
    shown = contrasted(np.ascontiguousarray(colours), plain.mask[0, 0].numpy())
    return Prepared(torch.from_numpy(shown).permute(2, 0, 1)[None].contiguous(), plain.mask, plain.box)


def demo_input(image: Float, mask: npt.NDArray[Any], box: Box | None, size: int) -> Prepared:
    """The input as the released notebook makes it; arguments and errors as for `data_set_input`."""
    levels = _checked(image, mask, box)
    drawn = box_of_mask(levels) if box is None else filled(box, levels.shape)
    pair = torch.from_numpy(np.stack([levels, drawn]))[None]
    joint = _resized(torch.cat([_levels_of_image(image), pair], 1), (size, size))
    return Prepared(joint[:, :3] / 255, joint[:, 3:4] / 255, (joint[:, 4:] > 127).float())


PREPARATIONS: Final[Mapping[str, Callable[[Float, npt.NDArray[Any], Box | None, int], Prepared]]] = (
    MappingProxyType({"data-set": data_set_input, "demo": demo_input, "contrast": contrast_input})
)


def read_answer(answer: Tensor, shape: tuple[int, ...], cut: str) -> Float:
    """The first map (1, 1, S, S) at the window's size; with ``cut = "otsu"`` stretched and cut to 0 and 1.

    The published stretch divides by the range of the map: a constant map has none, and is cut at one half.
    """
    probability: Float = _resized(answer.float(), (shape[0], shape[1]))[0, 0].numpy()
    if cut != "otsu":
        return probability
    levels = stretched_levels(probability)
    if levels is None:
        return np.asarray(probability > 0.5, np.float32)
    from skimage.filters import threshold_otsu

    return np.asarray(levels > threshold_otsu(levels), np.float32)


def stretched_levels(probability: Float) -> npt.NDArray[np.uint8] | None:
    """A map stretched from its least to its largest value, as grey levels; None for a constant map.

    Resizing leaves rounding errors in a constant map, which must not be stretched either.
    """
    low, high = float(probability.min()), float(probability.max())
    if high - low < _CONSTANT:
        return None
    return np.asarray((probability - low) / (high - low) * 255, np.uint8)


def mask_levels(mask: npt.NDArray[Any]) -> Float:
    """A mask in any usual form as grey levels 0..255: bool, 0/1, 0/255, or a probability.

    Raises
    ------
    InputError
        For a mask that is not (H, W), or has values that are neither.
    """
    if mask.ndim != 2 or mask.size == 0:
        raise InputError(f"The coarse mask must be (rows, columns), got {mask.shape}.")
    levels = np.asarray(mask, np.float32)
    low, high = float(levels.min()), float(levels.max())
    if not (low >= 0 and high <= 255):
        raise InputError(
            f"The coarse mask has values from {low:g} to {high:g}; give it as True/False, 0/1 or 0/255."
        )
    return levels if high > 1 else np.asarray(levels * np.float32(255), np.float32)


def box_of_mask(levels: Float) -> Float:
    """The published box map of a mask in grey levels (H, W): 255 inside, 0 outside.

    The smallest rectangle around all that is not 0, open at its last row and column but where the mask itself
    is 255 there.
    """
    rows, cols = (np.flatnonzero((levels > 0).any(axis)) for axis in (1, 0))
    drawn = levels.copy()
    if len(rows):
        drawn[rows[0] : rows[-1], cols[0] : cols[-1]] = 255
    drawn[drawn != 255] = 0
    return drawn


def filled(box: Box, shape: tuple[int, ...]) -> Float:
    """The box map of a box that was drawn: 255 on the pixels it covers, at least one."""
    drawn = np.zeros(shape, np.float32)
    top, left = min(round(box.row0), shape[0] - 1), min(round(box.col0), shape[1] - 1)
    drawn[max(top, 0) : max(round(box.row1), top + 1), max(left, 0) : max(round(box.col1), left + 1)] = 255
    return drawn


def _checked(image: Float, mask: npt.NDArray[Any], box: Box | None) -> Float:
    levels = mask_levels(mask)
    if image.shape != (*mask.shape, 3):
        raise InputError(f"The image must be {(*mask.shape, 3)} like the mask, got {image.shape}.")
    if box is None and not levels.any():
        raise InputError("The mask is empty, so there is nothing to refine; click on the object first.")
    rows, cols = mask.shape
    if box is not None and (box.row0 >= rows or box.col0 >= cols or box.row1 <= 0 or box.col1 <= 0):
        raise InputError(f"The box {box} lies outside the window of {rows} x {cols} pixels.")
    return levels


def _levels_of_image(image: Float) -> Tensor:
    """(H, W, 3) in [0, 1] -> (1, 3, H, W) grey levels, those of 8-bit images exactly."""
    levels = torch.from_numpy(np.ascontiguousarray(np.moveaxis(image, 2, 0)))[None].float() * 255
    whole = levels.round()
    return torch.where((levels - whole).abs() < _SNAP, whole, levels)


def _resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def _whole_levels(x: Tensor) -> Tensor:
    """Cut to whole grey levels, as a conversion to 8 bits does."""
    return x.clamp(0, 255).trunc()


def _scaled(box: Box, scale: tuple[float, float]) -> Box:
    return Box(box.row0 * scale[0], box.col0 * scale[1], box.row1 * scale[0], box.col1 * scale[1])
