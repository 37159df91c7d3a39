"""The published augmentation of CFR-ICL's training, with torchvision's v2 transforms.

Two recipes: ``"cocolvis"`` (COCO + LVIS) and ``"sbd"``. Random numbers come from torch's global generator, as
in all v2 transforms; `Augmentation` seeds it per sample and leaves it as it was.
"""

# ruff: noqa: ARG002  (the methods' arguments are torchvision's)
from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from napari_iseg.errors import InputError

Recipe = Literal["cocolvis", "sbd"]


class Augmentation:
    """A v2 transform applied to one sample of numpy arrays, reproducibly.

    Parameters
    ----------
    transform : takes (tv_tensors.Image, tv_tensors.Mask) and returns both
    """

    def __init__(self, transform: v2.Transform) -> None:
        self.transform = transform

    def __call__(
        self, image: npt.NDArray[np.uint8], labels: npt.NDArray[np.integer[Any]], seed: int
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
        """An augmented sample: image (H, W, 3) uint8 and labels (H, W) to the transform's size.

        The same ``seed`` gives the same result whatever ran before.
        """
        picture = tv_tensors.Image(torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1))
        mask = tv_tensors.Mask(torch.from_numpy(np.ascontiguousarray(labels, np.int32))[None])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            picture, mask = self.transform(picture, mask)
        return np.ascontiguousarray(picture.permute(1, 2, 0).numpy()), np.ascontiguousarray(mask[0].numpy())


def published_augmentation(recipe: Recipe = "cocolvis", size: int = 448) -> Augmentation:
    """The augmentation of a published recipe, to ``size`` x ``size`` pixels.

    Raises
    ------
    InputError
        For an unknown recipe.
    """
    if recipe == "cocolvis":
        geometry = [RandomScale(0.75, 1.40), v2.RandomHorizontalFlip(0.5)]
    elif recipe == "sbd":
        shift = v2.RandomAffine(
            degrees=3, translate=(0.03, 0.03), interpolation=v2.InterpolationMode.BILINEAR
        )
        geometry = [RandomScale(0.75, 1.25), RandomFlip(), RandomRotate90(), v2.RandomApply([shift], 0.75)]
    else:
        raise InputError(f"Unknown augmentation recipe {recipe!r}; use 'cocolvis' or 'sbd'.")
    crop = v2.RandomCrop(size)
    photometry = [
        v2.RandomApply([BrightnessContrast((-0.25, 0.25), (-0.15, 0.40))], 0.75),
        v2.RandomApply([ChannelShift(10)], 0.75),
    ]
    return Augmentation(v2.Compose([*geometry, PadToSize(size), crop, *photometry]))


def _uniform(low: float, high: float, count: int = 1) -> Tensor:
    return torch.empty(count).uniform_(low, high)


class RandomScale(v2.Transform):  # type: ignore[misc]
    """Resize both sides by one uniform factor."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.range = low, high

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The size after scaling."""
        height, width = v2.functional.get_size(flat_inputs[0])
        factor = float(_uniform(*self.range))
        return {"size": [max(1, round(height * factor)), max(1, round(width * factor))]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Bilinear for images, nearest for masks."""
        return self._call_kernel(v2.functional.resize, inpt, size=params["size"], antialias=False)


class RandomFlip(v2.Transform):  # type: ignore[misc]
    """With probability one half a horizontal, vertical or double flip, equally likely."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Which flips."""
        kind = int(torch.randint(3, ())) if float(torch.rand(())) < 0.5 else None
        return {"horizontal": kind in (0, 2), "vertical": kind in (1, 2)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Apply the flips that were drawn."""
        if params["horizontal"]:
            inpt = self._call_kernel(v2.functional.horizontal_flip, inpt)
        return self._call_kernel(v2.functional.vertical_flip, inpt) if params["vertical"] else inpt


class RandomRotate90(v2.Transform):  # type: ignore[misc]
    """With probability one half a rotation by 0, 90, 180 or 270 degrees, equally likely."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """How many quarter turns."""
        return {"turns": int(torch.randint(4, ())) if float(torch.rand(())) < 0.5 else 0}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Turn without interpolation."""
        return tv_tensors.wrap(torch.rot90(inpt.as_subclass(Tensor), params["turns"], (-2, -1)), like=inpt)


class PadToSize(v2.Transform):  # type: ignore[misc]
    """Zeros on all sides where an image is smaller than ``size``, half of them on either side."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Pad the last two axes."""
        height, width = inpt.shape[-2:]
        tall, wide = max(0, self.size - height), max(0, self.size - width)
        padding = (wide // 2, wide - wide // 2, tall // 2, tall - tall // 2)
        return tv_tensors.wrap(F.pad(inpt.as_subclass(Tensor), padding), like=inpt)


class BrightnessContrast(v2.Transform):  # type: ignore[misc]
    """``image * (1 + contrast) + 255 * brightness`` with uniform draws, clipped; uint8 images only."""

    _transformed_types = (tv_tensors.Image,)

    def __init__(self, brightness: tuple[float, float], contrast: tuple[float, float]) -> None:
        super().__init__()
        self.brightness = brightness
        self.contrast = contrast

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Factor and offset."""
        return {"factor": 1 + _uniform(*self.contrast), "offset": 255 * _uniform(*self.brightness)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Apply to the pixel values."""
        return _recoloured(inpt, inpt.as_subclass(Tensor).float() * params["factor"] + params["offset"])


class ChannelShift(v2.Transform):  # type: ignore[misc]
    """Add to each channel a uniform offset of at most ``limit`` grey levels; uint8 images only."""

    _transformed_types = (tv_tensors.Image,)

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """One offset per channel."""
        return {"offset": _uniform(-self.limit, self.limit, 3)[:, None, None]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Apply to the pixel values."""
        return _recoloured(inpt, inpt.as_subclass(Tensor).float() + params["offset"])


def _recoloured(image: Any, values: Tensor) -> Any:
    return tv_tensors.wrap(values.round().clamp(0, 255).to(torch.uint8), like=image)
