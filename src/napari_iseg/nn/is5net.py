"""IS5Net (later DIS-SAM): IS-Net whose first convolution also takes a coarse mask and a box; and the encoder
of true masks that guides its training. Key names as published.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_iseg.nn.rsu import ConvUnit, FlatUBlock, ResidualUBlock, enlarged, pooled

STAGES: Final = (1, 2, 3, 4, 5, 6)
# (depth of the U-block, 0 for the flat one; inputs, middle, outputs) of the published networks; a decoder
# block takes twice its ``inputs``: the deeper map and the encoder's of that stage, which are equally wide.
_ENCODER: Final = ((7, 64, 32, 64), (6, 64, 32, 128), (5, 128, 64, 256), (4, 256, 128, 512))
_ENCODER_FLAT: Final = ((0, 512, 256, 512), (0, 512, 256, 512))
_DECODER: Final = ((7, 64, 16, 64), (6, 128, 32, 64), (5, 256, 64, 128), (4, 512, 128, 256))
_DECODER_FLAT: Final = ((0, 512, 256, 512),)
_TRUTH: Final = ((7, 16, 16, 64), (6, 64, 16, 64), (5, 64, 32, 128), (4, 128, 32, 256))
_TRUTH_FLAT: Final = ((0, 256, 64, 512), (0, 512, 64, 512))
_FEATURES: Final = (64, 64, 128, 256, 512, 512)  # channels of the six feature maps


class IsNet(nn.Module):
    """Six probability maps from image, coarse mask and box.

    Parameters
    ----------
    in_channels : 3 (image), 4 (with mask), 5 (with mask and box), or more, unused ones zero
    width : factor on all channel numbers, 1 = as published
    """

    def __init__(self, in_channels: int = 5, width: float = 1.0) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.conv_in = nn.Conv2d(in_channels, scaled(64, width), 3, stride=2, padding=1)
        for stage, plan in enumerate((*_ENCODER, *_ENCODER_FLAT), 1):
            self.add_module(f"stage{stage}", _block(plan, width))
        for stage, plan in enumerate((*_DECODER, *_DECODER_FLAT), 1):
            self.add_module(f"stage{stage}d", _block(plan, width, maps=2))
        for stage, channels in zip(STAGES, _FEATURES, strict=True):
            self.add_module(f"side{stage}", nn.Conv2d(scaled(channels, width), 1, 3, padding=1))

    def sides(self, x: Tensor, count: int = len(STAGES)) -> tuple[list[Tensor], list[Tensor]]:
        """Side logits and features of the prepared input.

        Parameters
        ----------
        x : (B, in_channels, H, W) float, as `prepared` gives it
        count : how many logit maps are made; the answer alone needs one

        Returns
        -------
        logits : (B, 1, H, W) maps at the input's size, the first is the answer
        features : six maps at strides 2, 4, 8, 16, 32, 64
        """
        encoded: list[Tensor] = []
        inner = self.conv_in(x)
        for stage in STAGES:
            inner = self.get_submodule(f"stage{stage}")(pooled(inner) if stage > 1 else inner)
            encoded.append(inner)
        features = [encoded.pop()]
        for stage in (5, 4, 3, 2, 1):
            skip = encoded.pop()
            joined = torch.cat([enlarged(features[0], skip), skip], 1)
            features.insert(0, self.get_submodule(f"stage{stage}d")(joined))
        return [_side(self, stage, features, x) for stage in STAGES[:count]], features


class TruthEncoder(nn.Module):
    """The encoder of true masks: six maps and features like `IsNet`'s, without a decoder.

    Parameters
    ----------
    width : factor on all channel numbers, 1 = as published; that of the network it shall guide
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        self.conv_in = _FirstConv(scaled(16, width))
        for stage, plan in enumerate((*_TRUTH, *_TRUTH_FLAT), 1):
            self.add_module(f"stage{stage}", _block(plan, width))
        for stage, channels in zip(STAGES, _FEATURES, strict=True):
            self.add_module(f"side{stage}", nn.Conv2d(scaled(channels, width), 1, 3, padding=1))

    def sides(self, mask: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Six (B, 1, H, W) logit maps and six feature maps of a mask (B, 1, H, W) in [0, 1]."""
        features: list[Tensor] = []
        inner = self.conv_in(mask)
        for stage in STAGES:
            inner = self.get_submodule(f"stage{stage}")(pooled(inner) if stage > 1 else inner)
            features.append(inner)
        return [_side(self, stage, features, mask) for stage in STAGES], features


class _FirstConv(nn.Module):
    """3x3 convolution with stride 2, batch norm, ReLU."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, outputs, 3, stride=2, padding=1)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


def prepared(image: Tensor, parts: Sequence[Tensor]) -> Tensor:
    """The network's input: RGB shifted to [-0.5, 0.5], then mask and box as they are, along the channels."""
    return torch.cat([image - 0.5, *parts], 1)


def fold_norms(net: nn.Module) -> nn.Module:
    """Put the batch norms of an evaluated network into the convolutions before them, in place.

    The answers stay the same up to rounding; the network can be neither trained nor saved under its published
    names afterwards.
    """
    for module in net.modules():
        if isinstance(module, ConvUnit) and isinstance(module.bn_s1, nn.BatchNorm2d):
            module.conv_s1 = nn.utils.fuse_conv_bn_eval(module.conv_s1, module.bn_s1)
            module.bn_s1 = nn.Identity()
    return net


def scaled(channels: int, width: float) -> int:
    """Channels times ``width``: a multiple of 8 (which vectorised kernels like) unless it is less than 8."""
    exact = channels * width
    return max(4, round(exact / 8) * 8) if exact >= 8 else max(4, round(exact))


def _block(plan: tuple[int, int, int, int], width: float, maps: int = 1) -> nn.Module:
    depth, *channels = plan
    inputs, middle, outputs = (scaled(number, width) for number in channels)
    inputs *= maps
    return ResidualUBlock(depth, inputs, middle, outputs) if depth else FlatUBlock(inputs, middle, outputs)


def _side(net: nn.Module, stage: int, features: Sequence[Tensor], like: Tensor) -> Tensor:
    return enlarged(net.get_submodule(f"side{stage}")(features[stage - 1]), like)
