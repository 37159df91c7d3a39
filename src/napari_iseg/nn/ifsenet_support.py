"""The support path of IFSENet: features and clicks to the support's own mask."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_iseg.nn.click_unet import Guidance
from napari_iseg.nn.clicks import click_disks
from napari_iseg.nn.ifsenet_parts import Aspp, ConvNorm, FineHead, resize

# What each map says by itself at the start of training, as a logit. Distances: near, far, colour, texture of
# either sign, then geodesic ones of both signs at two scales, then the previous mask.
_DISTANCES = (3.0, 1.0, 1.0, 1.0, -3.0, -1.0, -1.0, -1.0, 1.0, -1.0, 3.0, -3.0, 3.0)
_DISKS = (3.0, -3.0, 4.0)
HONEST_RADIUS = 3.0  # pixels around a click whose side of the mask is the user's


class PromptMaps(nn.Module):
    """Clicks and previous mask as maps: RITM's disks at full size, or the starter's distances at half."""

    def __init__(self, guidance: bool) -> None:
        super().__init__()
        self.guidance = Guidance() if guidance else None
        self.channels = Guidance.channels + 1 if guidance else 3
        self.stride = 2 if guidance else 1
        self.meaning = _DISTANCES if guidance else _DISKS

    @torch.no_grad()
    def forward(self, image: Tensor, previous: Tensor, clicks: Tensor) -> Tensor:
        """(B, channels, H / stride, W / stride)."""
        if self.guidance is not None:
            return torch.cat([self.guidance(image, clicks), F.avg_pool2d(previous.float(), 2)], 1)
        disks = click_disks(clicks, *image.shape[-2:])
        return torch.cat([disks, previous.float()], 1)


class PromptEncoder(nn.Module):
    """Prompt maps to features at stride 8 and, for the fine head, at stride 4 (fusion "cached")."""

    def __init__(self, maps: PromptMaps, channels: int, skip_channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(maps.channels, 24, stride=2 // maps.stride)
        self.second = ConvNorm(24, 32, stride=2)
        self.third = ConvNorm(32, channels, stride=2)
        self.deep = nn.Conv2d(channels, channels, 3, padding=1)
        self.near = nn.Conv2d(32, skip_channels, 1)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Features to add to ``m`` (B, channels, H/8, W/8) and to the skip (B, skip_channels, H/4, W/4)."""
        quarter = self.second(self.first(maps))
        return self.deep(self.third(quarter)), self.near(quarter)


class SupportPath(nn.Module):
    """ASPP decoder over the comparison space ``m``.

    Parameters
    ----------
    fusion : "cached": prompts join after the click-free encoder, so a further click costs the decoder only;
        "paper": this path has its own encoder, and prompts join behind its first convolution (the caller runs
        it and passes its ``m``)
    """

    def __init__(
        self,
        channels: int,
        skip_channels: int,
        rates: Sequence[int],
        *,
        guidance: bool,
        fusion: str,
        first_channels: int,
    ) -> None:
        super().__init__()
        self.maps = PromptMaps(guidance)
        self.aspp = Aspp(channels, rates)
        self.head = FineHead(channels, skip_channels)
        # Ours, as in the query path: the maps reach the answer directly too.
        self.direct = nn.Conv2d(self.maps.channels, 1, 1)
        with torch.no_grad():
            self.direct.weight.copy_(torch.tensor(self.maps.meaning).view(1, -1, 1, 1))
            self.direct.bias.fill_(-3.0)  # type: ignore[union-attr]
        self.prompts: PromptEncoder | None = None
        self.early: nn.Module | None = None
        if fusion != "paper":
            self.prompts = PromptEncoder(self.maps, channels, self.head.skip_width)
        else:
            stride = 2 // self.maps.stride
            self.early = nn.Sequential(
                nn.Conv2d(self.maps.channels, 16, 3, stride=stride, padding=1),
                nn.LeakyReLU(0.2),
                nn.Conv2d(16, first_channels, 3, padding=1),
            )

    def forward(self, m: Tensor, f1: Tensor, prompts: Tensor) -> Tensor:
        """Mask logits (B, 1, H/2, W/2) from ``m`` (B, C, H/8, W/8), ``f1`` (B, C1, H/4, W/4) and maps."""
        extra = None
        if self.prompts is not None:
            deep, extra = self.prompts(prompts)
            m = m + deep
        logits: Tensor = self.head(self.aspp(m), f1, extra)
        return logits + resize(self.direct(prompts), logits.shape[-2:])


def honest(probability: Tensor, clicks: Tensor, radius: float = HONEST_RADIUS) -> Tensor:
    """Probability (B, 1, H, W) that agrees with every click (B, 2N, 3) within ``radius`` pixels of it.

    A pixel near clicks of both kinds goes to the nearer one; where both are equally near it stays.
    """
    height, width = probability.shape[-2:]
    disks = click_disks(clicks, height, width, radius)
    both = disks.sum(1, keepdim=True) > 1
    if both.any():
        disks = torch.where(both, click_disks(clicks, height, width, 0.75), disks)
    positive, negative = disks[:, :1] > 0, disks[:, 1:] > 0
    raised = torch.where(positive & ~negative, probability.clamp(min=0.99), probability)
    return torch.where(negative & ~positive, raised.clamp(max=0.01), raised)
