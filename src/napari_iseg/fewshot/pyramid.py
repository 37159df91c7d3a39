"""Feature maps for the training-free profile: an encoder's levels beside colours and textures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_iseg.backends.base import as_device
from napari_iseg.errors import FetchError, InputError, ModelNotFoundError
from napari_iseg.nn.textures import textures

if TYPE_CHECKING:
    from napari_iseg.nn.ifsenet_encoder import ConvEncoder
    from napari_iseg.weights.store import Store

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class PyramidEncoder:
    """An encoder for the training-free profile.

    Parameters
    ----------
    identity : of its weights
    levels : (1, 3, H, W) in [0, 1] -> feature maps from fine to coarse
    divisor : sides must be multiples of it
    device : where it runs
    """

    identity: str
    levels: Callable[[Tensor], list[Tensor]]
    divisor: int
    device: torch.device


@dataclass(frozen=True, eq=False)
class Pyramid:
    """Maps of one (padded) image, float16 on the CPU.

    ``fine`` (C1, H/4, W/4), ``deep`` (C2, H/8, W/8) L2-normalised per cell, ``texture`` (15, H/2, W/2),
    ``guide`` (H, W) uint8 grey; ``content`` tells equal images.
    """

    fine: Tensor
    deep: Tensor
    texture: Tensor
    guide: Tensor
    shape: tuple[int, int]
    content: bytes

    @property
    def nbytes(self) -> int:
        """Bytes of the maps."""
        return sum(t.numel() * t.element_size() for t in (self.fine, self.deep, self.texture, self.guide))

    @property
    def levels(self) -> tuple[Tensor, Tensor, Tensor]:
        """Texture, fine and deep as float32."""
        return self.texture.float(), self.fine.float(), self.deep.float()

    @property
    def half(self) -> tuple[int, int]:
        """(rows, columns) at half size."""
        return int(self.texture.shape[-2]), int(self.texture.shape[-1])


def make_pyramid(encoder: PyramidEncoder, image: Tensor, shape: tuple[int, int], content: bytes) -> Pyramid:
    """Encode a padded image (1, 3, H, W) in [0, 1] on the encoder's device."""
    levels = encoder.levels(image)
    rows, cols = int(image.shape[-2]), int(image.shape[-1])
    fine = F.interpolate(levels[0], size=(rows // 4, cols // 4), mode="bilinear", align_corners=False)
    deep = [
        F.normalize(
            F.interpolate(level, size=(rows // 8, cols // 8), mode="bilinear", align_corners=False), dim=1
        )
        for level in levels[1:]
    ]
    grey = (image[0].mean(0) * 255).round().to(torch.uint8)
    return Pyramid(
        F.normalize(fine, dim=1)[0].half().cpu().contiguous(),
        F.normalize(torch.cat(deep, 1), dim=1)[0].half().cpu().contiguous(),
        textures(image)[0].half().cpu().contiguous(),
        grey.cpu(),
        shape,
        content,
    )


def trunk_encoder(name: str, device: str = "auto", store: Store | None = None) -> PyramidEncoder:
    """The image half of a click starter, which ships with the package.

    Raises
    ------
    InputError
        When the model of that name is built otherwise.
    """
    from napari_iseg.nn.click_unet import ClickUNet
    from napari_iseg.nn.ifsenet_encoder import ConvEncoder
    from napari_iseg.weights.store import load_model

    model = load_model(name, device="cpu", store=store)
    if not isinstance(model.net, ClickUNet):
        raise InputError(f"The model {name} is no click starter; its trunk cannot encode images by itself.")
    widths = [model.net.out.in_channels, *(conv.out_channels for conv in _firsts(model.net.down))]
    depths = [1, *(len(level) for level in model.net.levels)]  # type: ignore[arg-type]
    where = as_device(device)
    with torch.random.fork_rng(devices=[]):
        encoder = ConvEncoder(widths, depths).float()
    encoder.load_trunk(model.net.state_dict())
    encoder = encoder.eval().to(where)
    return PyramidEncoder(f"{name}:{model.card.sha256[:12]}", partial(_trunk_levels, encoder), 32, where)


def _trunk_levels(encoder: ConvEncoder, image: Tensor) -> list[Tensor]:
    made = encoder(image)
    return [made.f1, made.f2, made.f4]


def _firsts(stages: Any) -> list[Any]:
    return [stage[0] for stage in stages]


def timm_encoder(name: str, device: str = "auto") -> PyramidEncoder:
    """Any timm encoder with its pretrained weights, fetched once.

    Raises
    ------
    ModelNotFoundError
        For a name that timm does not know; FetchError when the weights cannot be had.
    """
    from napari_iseg.nn.torchvision_guard import need_torchvision

    need_torchvision()
    import timm

    if name not in timm.list_models():
        near = timm.list_models(f"*{name.split('_')[0]}*")[:3] or ["resnet50"]
        raise ModelNotFoundError(f"timm has no encoder {name!r}; did you mean {' or '.join(near)}?")
    where = as_device(device)
    try:
        with torch.random.fork_rng(devices=[]):
            net = timm.create_model(name, pretrained=True, features_only=True).float()
    except (OSError, RuntimeError) as error:
        raise FetchError(
            f"The weights of {name} could not be fetched ({str(error).splitlines()[0]}); go online once or "
            "use 'training-free', which needs none."
        ) from error
    return encoder_of(net.eval().to(where), name, where)


def encoder_of(net: Any, name: str, device: torch.device) -> PyramidEncoder:
    """A timm network built with ``features_only`` as an encoder."""
    strides = net.feature_info.reduction()
    first = next((i for i, stride in enumerate(strides) if stride >= 4), len(strides) - 1)
    later = [i for i, stride in enumerate(strides) if 8 <= stride <= 16] or [len(strides) - 1]
    return PyramidEncoder(
        f"timm:{name}", partial(_timm_levels, net, [first, *later]), max(32, *strides), device
    )


def _timm_levels(net: Any, chosen: Sequence[int], image: Tensor) -> list[Tensor]:
    mean, std = image.new_tensor((_MEAN, _STD))[..., None, None]
    made = net((image - mean) / std)
    return [made[i] for i in chosen]
