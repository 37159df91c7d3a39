"""Encoders of IFSENet: images to feature maps of four levels, without clicks.

Both kinds take an ``extra`` map that is added after the first convolution; it is how clicks enter the
"paper" fusion (RITM's conv1s), and stays None everywhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_iseg.errors import FetchError, InputError
from napari_iseg.nn.click_unet import AttentionBlock, ConvBlock, Guidance
from napari_iseg.nn.torchvision_guard import need_torchvision

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


class Levels(NamedTuple):
    """Feature maps (B, C_i, h_i, w_i): ``f1`` at stride 4, ``f2`` at 8, ``f3`` and ``f4`` at 8 or 16."""

    f1: Tensor
    f2: Tensor
    f3: Tensor
    f4: Tensor


class Encoder(Protocol):
    """What IFSENet needs of an encoder."""

    channels: tuple[int, int, int, int]
    first_channels: int  # of the first convolution's result, for ``extra``
    stride: int  # of f4

    def __call__(self, image: Tensor, extra: Tensor | None = None) -> Levels:
        """Levels of an image (B, 3, H, W) in [0, 1], sides multiples of 32."""


class ResNetEncoder(nn.Module):
    """A timm ResNet with its last blocks dilated, so that ``f4`` keeps stride 8 or 16.

    Batch norms keep their statistics: episodes are far too few pictures for new ones.
    """

    def __init__(self, name: str, stride: int) -> None:
        super().__init__()
        if stride not in (8, 16):
            raise InputError(f"IFSENet's ResNet runs at output stride 8 or 16, got {stride}.")
        self.name = name
        self.stride = stride
        self.net: Any = _timm_resnet(name, stride, pretrained=False)
        counts = [int(info["num_chs"]) for info in self.net.feature_info[1:]]
        self.channels = (counts[0], counts[1], counts[2], counts[3])
        self.first_channels = int(self.net.conv1.out_channels)
        self.requires_grad_(False)

    def forward(self, image: Tensor, extra: Tensor | None = None) -> Levels:
        """See `Encoder`."""
        mean, std = image.new_tensor((_MEAN, _STD))[..., None, None]
        net = self.net
        x = net.conv1((image - mean) / std)
        if extra is not None:
            x = x + extra
        x = net.maxpool(net.act1(net.bn1(x)))
        f1 = net.layer1(x)
        f2 = net.layer2(f1)
        f3 = net.layer3(f2)
        return Levels(f1, f2, f3, net.layer4(f3))

    def train(self, mode: bool = True) -> ResNetEncoder:
        """Children stay in evaluation mode: frozen batch norm (PFENet)."""
        super().train(mode)
        self.net.eval()
        return self

    def load_imagenet(self) -> None:
        """Fetch timm's ImageNet weights into the encoder.

        Raises
        ------
        FetchError
            When they cannot be had.
        """
        try:
            source = _timm_resnet(self.name, self.stride, pretrained=True)
        except (OSError, RuntimeError) as error:
            raise FetchError(
                f"The ImageNet weights of {self.name} could not be fetched ({error}); go online once, or "
                "train the encoder too (variant encoder = 'conv')."
            ) from error
        self.net.load_state_dict(source.state_dict())


def _timm_resnet(name: str, stride: int, pretrained: bool) -> Any:
    need_torchvision()
    import timm  # here, not above: a click's way in the viewer must not load it

    return timm.create_model(name, pretrained=pretrained, num_classes=0, output_stride=stride)


class ConvEncoder(nn.Module):
    """The image half of the click starter (`nn.click_unet.ClickUNet`), its prompts set to "none given".

    It has that network's parameter names, so a trained click model can start it; see `load_trunk`.

    Parameters
    ----------
    widths : channels at 1/2, 1/4, 1/8 and 1/16
    depths : blocks at 1/4, 1/8 and 1/16 (attention), after the starter's unused first entry
    """

    stride = 16

    def __init__(
        self, widths: Sequence[int] = (24, 48, 96, 160), depths: Sequence[int] = (1, 1, 2, 3)
    ) -> None:
        super().__init__()
        self.channels = (widths[1], widths[2], widths[3], widths[3])
        self.first_channels = widths[0]
        self.stem = ConvBlock(4 * 4 + Guidance.channels, widths[0])
        self.down = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
                nn.GroupNorm(max(1, after // 16), after),
                nn.ReLU(True),
            )
            for before, after in pairwise(widths)
        )
        self.levels = nn.ModuleList(
            nn.Sequential(*(ConvBlock(widths[i], widths[i]) for _ in range(depths[i]))) for i in (1, 2)
        )
        self.levels.append(
            nn.Sequential(*(AttentionBlock(widths[3], widths[3] // 32) for _ in range(depths[3])))
        )

    def forward(self, image: Tensor, extra: Tensor | None = None) -> Levels:
        """See `Encoder`."""
        nothing = image.new_zeros(image.shape[0], 1, *image.shape[-2:])
        pixels = F.pixel_unshuffle(torch.cat([(image - 0.5) * 4, nothing - 1], 1), 2)
        without = pixels.new_full((pixels.shape[0], Guidance.channels, *pixels.shape[-2:]), -1.0)
        x = self.stem(torch.cat([pixels, without], 1))
        if extra is not None:
            x = x + extra
        f1 = self.levels[0](self.down[0](x))
        f2 = self.levels[1](self.down[1](f1))
        f3 = self.down[2](f2)
        return Levels(f1, f2, f3, self.levels[2](f3))

    def load_trunk(self, state: dict[str, Tensor]) -> None:
        """Take over what a click starter's state dict has of this encoder.

        Raises
        ------
        InputError
            When a parameter is missing or of another shape: the starter was built with other widths.
        """
        own = self.state_dict()
        wrong = [key for key, value in own.items() if key not in state or state[key].shape != value.shape]
        if wrong:
            raise InputError(
                f"The click model to start from does not fit the encoder (first difference: {wrong[0]}); "
                "give the encoder the same widths and depths."
            )
        self.load_state_dict({key: state[key] for key in own})
