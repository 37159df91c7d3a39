"""The published augmentations, with torchvision's v2 kernels.

Three recipes: ``"cocolvis"`` (COCO + LVIS) and ``"sbd"`` of CFR-ICL's training, ``"mst"`` of MST's (branches
main and mst-448, on COCO + LVIS too). torchvision's own random transforms draw from torch's one generator,
which the training step and other threads use at the same time; here every draw comes from the generator that
is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as kernels

from napari_iseg.errors import InputError

Recipe = Literal["cocolvis", "sbd", "mst"]
Pair = tuple[Tensor, Tensor]  # picture (3, H, W) uint8, labels (1, H, W) int32
Step = Callable[[Pair, np.random.Generator], Pair]
_Bounds = tuple[float, float]
_GENTLE: Final = (-0.25, 0.25), (-0.15, 0.40), 10.0
# Bounds of brightness and contrast, and of the offset of each channel in grey levels.
_PHOTOMETRY: Final[Mapping[str, tuple[_Bounds, _Bounds, float]]] = MappingProxyType(
    {"cocolvis": _GENTLE, "sbd": _GENTLE, "mst": ((-0.30, 0.30), (-0.20, 0.50), 20.0)}
)


class Augmentation:
    """Random steps applied to one sample of numpy arrays; thread-safe, as it keeps no state.

    Parameters
    ----------
    steps : each takes a picture, its labels and a generator and returns picture and labels
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = tuple(steps)

    def __call__(
        self,
        image: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.integer[Any]],
        rng: np.random.Generator,
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
        """An augmented sample: image (H, W, 3) uint8 and labels (H, W), below 2^24, to the steps' size.

        The same state of ``rng`` gives the same result whatever runs before or beside it.
        """
        picture = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        mask = torch.from_numpy(np.ascontiguousarray(labels, np.int32))[None]
        for step in self.steps:
            picture, mask = step((picture, mask), rng)
        return np.ascontiguousarray(picture.permute(1, 2, 0).numpy()), np.ascontiguousarray(mask[0].numpy())


def published_augmentation(recipe: Recipe = "cocolvis", size: int = 448) -> Augmentation:
    """The augmentation of a published recipe, to ``size`` x ``size`` pixels.

    Raises
    ------
    InputError
        For an unknown recipe.
    """
    if recipe not in _PHOTOMETRY:
        known = " or ".join(map(repr, _PHOTOMETRY))
        raise InputError(f"Unknown augmentation recipe {recipe!r}; use {known}.")
    geometry: list[Step]
    if recipe == "sbd":
        geometry = [
            partial(_scaled, low=0.75, high=1.25),
            partial(_sometimes, _flipped, 0.5),
            partial(_sometimes, _turned, 0.5),
            partial(_sometimes, partial(_shifted, degrees=3, share=0.03), 0.75),
        ]
    else:
        low, high = (0.5, 1.5) if recipe == "mst" else (0.75, 1.40)
        geometry = [partial(_scaled, low=low, high=high), partial(_sometimes, _mirrored, 0.5)]
    brightness, contrast, limit = _PHOTOMETRY[recipe]
    brighter = partial(_brighter, brightness=brightness, contrast=contrast)
    photometry = [
        partial(_sometimes, brighter, 0.75),
        partial(_sometimes, partial(_recoloured, limit=limit), 0.75),
    ]
    return Augmentation([*geometry, partial(_padded, size=size), partial(_cropped, size=size), *photometry])


def _sometimes(step: Step, probability: float, pair: Pair, rng: np.random.Generator) -> Pair:
    return step(pair, rng) if rng.random() < probability else pair


def _scaled(pair: Pair, rng: np.random.Generator, low: float, high: float) -> Pair:
    """Both sides resized by one uniform factor."""
    factor = rng.uniform(low, high)
    size = [max(1, round(side * factor)) for side in pair[0].shape[-2:]]
    return kernels.resize_image(pair[0], size, antialias=False), kernels.resize_mask(pair[1], size)


def _mirrored(pair: Pair, rng: np.random.Generator) -> Pair:
    del rng
    return pair[0].flip(-1), pair[1].flip(-1)


def _flipped(pair: Pair, rng: np.random.Generator) -> Pair:
    """A horizontal, vertical or double flip, equally likely."""
    axes = ((-1,), (-2,), (-1, -2))[rng.integers(3)]
    return pair[0].flip(axes), pair[1].flip(axes)


def _turned(pair: Pair, rng: np.random.Generator) -> Pair:
    """0 to 3 quarter turns, equally likely."""
    turns = int(rng.integers(4))
    return pair[0].rot90(turns, (-2, -1)), pair[1].rot90(turns, (-2, -1))


def _shifted(pair: Pair, rng: np.random.Generator, degrees: float, share: float) -> Pair:
    """Turned by at most ``degrees`` and moved by whole pixels, at most ``share`` of a side; zeros come in."""
    height, width = pair[0].shape[-2:]
    placed = {
        "angle": rng.uniform(-degrees, degrees),
        "translate": [round(rng.uniform(-share, share) * side) for side in (width, height)],
        "scale": 1.0,
        "shear": [0.0, 0.0],
    }
    image = kernels.affine_image(pair[0], **placed, interpolation=InterpolationMode.BILINEAR, fill=0)
    return image, kernels.affine_mask(pair[1], **placed, fill=0)


def _padded(pair: Pair, rng: np.random.Generator, size: int) -> Pair:
    """Zeros on all sides where a picture is smaller than ``size``, half of them on either side."""
    del rng
    tall, wide = (max(0, size - side) for side in pair[0].shape[-2:])
    padding = (wide // 2, wide - wide // 2, tall // 2, tall - tall // 2)
    return torch.nn.functional.pad(pair[0], padding), torch.nn.functional.pad(pair[1], padding)


def _cropped(pair: Pair, rng: np.random.Generator, size: int) -> Pair:
    """A square of ``size`` anywhere in the picture, which is at least as large."""
    top, left = (int(rng.integers(side - size + 1)) for side in pair[0].shape[-2:])
    image, mask = (part[..., top : top + size, left : left + size] for part in pair)
    return image, mask


def _brighter(
    pair: Pair, rng: np.random.Generator, brightness: tuple[float, float], contrast: tuple[float, float]
) -> Pair:
    """``image * (1 + contrast) + 255 * brightness`` with uniform draws, clipped."""
    factor, offset = 1 + rng.uniform(*contrast), 255 * rng.uniform(*brightness)
    return _as_uint8(pair[0].float() * factor + offset), pair[1]


def _recoloured(pair: Pair, rng: np.random.Generator, limit: float) -> Pair:
    """Each channel lifted or lowered by a uniform offset of at most ``limit`` grey levels, clipped."""
    offset = torch.from_numpy(rng.uniform(-limit, limit, 3).astype(np.float32))
    return _as_uint8(pair[0].float() + offset[:, None, None]), pair[1]


def _as_uint8(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)
