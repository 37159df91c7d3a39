"""The starter network: a small U-Net with attention in its narrowest level, guided by click distances.

Ours, not a published one; it takes the place of CFR-ICL's plain ViT where there is neither a GPU nor a large
data set, and
is trained and run by CFR-ICL's rules. What it gets beside the image is what a few thousand objects cannot
teach: how far
each pixel is from the clicks in space, in colour, and along paths that do not cross edges.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_iseg.nn.click_net import ClickNet
from napari_iseg.nn.exact import exact
from napari_iseg.nn.geodesic import FAR, GeodesicDistance, appearance, euclidean


class Guidance(nn.Module):
    """Click maps at half resolution: per sign a near and a far disk, two appearance and two geodesic maps."""

    channels = 12

    def __init__(self, sweeps: int = 48) -> None:
        super().__init__()
        self.geodesic = GeodesicDistance(sweeps)

    @torch.no_grad()
    def forward(self, image: Tensor, clicks: Tensor) -> Tensor:
        """(B, 12, H/2, W/2) for an image (B, 3, H, W) in [0, 1] and clicks (B, 2N, 3); in float32."""
        with exact(image):
            return self._maps(image, clicks)

    def _maps(self, image: Tensor, clicks: Tensor) -> Tensor:
        size = (image.shape[-2] * image.shape[-1]) ** 0.5
        half = F.avg_pool2d(image.float(), 2).contiguous()  # pooling three channels is slow channels-last
        # Distances are measured in units of the window's own contrast, else faint objects have no
        # edges at all.
        contrast = half.std((2, 3)).mean(1).clamp(min=0.02)[:, None, None, None]
        fine = half / contrast
        coarse = _smooth(fine)
        coarse = torch.cat([coarse, _smooth((fine - coarse).abs())], 1)
        height, width = half.shape[-2:]
        maps, seeds, used = [], [], []
        for signed in clicks.float().chunk(2, 1):
            used.append(not bool((signed[..., :2].amax(-1) < 0).all()))
            if not used[-1]:  # at a first click: as far as can be from a background click
                maps += [torch.zeros_like(half[:, 0])] * 4
                continue
            distance = euclidean(signed, height, width, 2)
            maps += [torch.exp(-((distance / 6) ** 2)), torch.exp(-distance * (6 / size))]
            for features in (fine, coarse):
                maps.append(torch.exp(-appearance(features, signed, 2)))
            near = -F.max_pool2d(-distance[:, None], 2)
            seeds.append(torch.full_like(near, FAR).masked_fill(near <= 4, 0.0))
        quarter = F.avg_pool2d(fine, 2)
        paths = quarter.new_full((len(quarter), 2, *quarter.shape[-2:]), FAR)
        if seeds:
            paths[:, used] = self.geodesic(quarter, torch.cat(seeds, 1))
        paths = torch.cat([torch.exp(-paths), torch.exp(-paths / 4)], 1)
        paths = F.interpolate(paths, size=(height, width), mode="bilinear", align_corners=False)
        return torch.cat([torch.stack(maps, 1), paths], 1)


def _smooth(x: Tensor) -> Tensor:
    """Means over 7 x 7 pixels, as far as they lie inside, (B, C, h, w)."""
    rows = F.avg_pool2d(x, (7, 1), 1, (3, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, 7), 1, (0, 3), count_include_pad=False)


def _norm(channels: int) -> nn.Module:
    return nn.GroupNorm(max(1, channels // 16), channels)


class ConvBlock(nn.Module):
    """Residual pair of 3x3 convolutions with group norm."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, padding=1, bias=False)
        self.norm1 = _norm(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.norm2 = _norm(outer)
        self.skip = nn.Identity() if inner == outer else nn.Conv2d(inner, outer, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inner, h, w) -> (B, outer, h, w)."""
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        y = self.norm2(self.conv2(y))
        return F.relu(y + self.skip(x), inplace=True)


class Mlp(nn.Module):
    """Two linear layers with GELU between them.

    Not timm's: importing timm loads torchvision and Triton, whose LLVM crashes a process that has already
    drawn with Mesa's
    software OpenGL, as a viewer without a graphics card has.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(..., channels) -> same."""
        result: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return result


class AttentionBlock(nn.Module):
    """Pre-norm transformer block over all pixels of a map, with a depthwise convolution as position."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.position = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm1 = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.project = nn.Linear(channels, channels)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels, 3 * channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> same."""
        batch, channels, height, width = x.shape
        x = x + self.position(x)
        tokens = x.flatten(2).transpose(1, 2)
        qkv = self.qkv(self.norm1(tokens)).view(batch, -1, 3, self.heads, channels // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(tokens.shape)
        tokens = tokens + self.project(mixed)
        tokens = tokens + self.mlp(self.norm2(tokens))
        result: Tensor = tokens.transpose(1, 2).reshape(batch, channels, height, width)
        return result


class ClickUNet(ClickNet):
    """U-Net from half to 1/16 resolution.

    Parameters
    ----------
    widths : channels at 1/2, 1/4, 1/8 and 1/16
    depths : blocks per level on the way down; the last counts attention blocks
    sweeps : relaxation steps of the geodesic distance, in pixels of the 1/4 map
    """

    divisor = 16
    training_methods = ("trained",)

    def __init__(
        self,
        widths: Sequence[int] = (24, 48, 96, 160),
        depths: Sequence[int] = (1, 1, 2, 3),
        sweeps: int = 48,
    ) -> None:
        super().__init__()
        self.guidance = Guidance(sweeps)
        first = 4 * 4 + Guidance.channels
        self.stem = ConvBlock(first, widths[0])
        self.down = nn.ModuleList()
        self.levels = nn.ModuleList()
        for i in range(1, 4):
            self.down.append(
                nn.Sequential(
                    nn.Conv2d(widths[i - 1], widths[i], 3, stride=2, padding=1, bias=False),
                    _norm(widths[i]),
                    nn.ReLU(True),
                )
            )
            if i < 3:
                self.levels.append(
                    nn.Sequential(*(ConvBlock(widths[i], widths[i]) for _ in range(depths[i])))
                )
            else:
                self.levels.append(
                    nn.Sequential(*(AttentionBlock(widths[i], widths[i] // 32) for _ in range(depths[i])))
                )
        self.lateral = nn.ModuleList(nn.Conv2d(widths[i + 1], widths[i], 1) for i in range(3))
        self.up = nn.ModuleList(ConvBlock(2 * widths[i], widths[i]) for i in range(3))
        self.out = nn.Conv2d(widths[0], 4, 3, padding=1)
        self.quality = nn.Sequential(
            nn.Linear(widths[1] * 2 + widths[3], 64), nn.ReLU(True), nn.Linear(64, 1)
        )

    def forward(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> Tensor:
        """Mask logits, see `ClickNet`; any size, padded inside to a multiple of 16."""
        return self._features(image, prev_mask, clicks)[0]

    def scored(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and the IoU that the quality head expects of them, (B,)."""
        logits, middle, deep = self._features(image, prev_mask, clicks)
        return logits, self._quality(logits, middle, deep).sigmoid()

    def trained(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> tuple[Tensor, Tensor]:
        """As `scored`, with the quality as a logit, for its loss."""
        logits, middle, deep = self._features(image, prev_mask, clicks)
        return logits, self._quality(logits.detach(), middle, deep)

    def maps(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> list[Tensor]:
        """Decoded features at 1/2, 1/4, 1/8 and 1/16 of the input, padded to a multiple of 16."""
        skips, narrow = self.encoded(image, prev_mask, clicks)
        return self.decoded(self.levels[-1](narrow), skips)

    def encoded(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> tuple[list[Tensor], Tensor]:
        """Features at 1/2, 1/4 and 1/8, and those at 1/16 before its attention blocks."""
        right, bottom = -image.shape[-1] % self.divisor, -image.shape[-2] % self.divisor
        if right or bottom:
            image = F.pad(image, (0, right, 0, bottom), mode="replicate")
            prev_mask = F.pad(prev_mask, (0, right, 0, bottom))
        guidance = self.guidance(image, clicks)
        pixels = F.pixel_unshuffle(torch.cat([(image - 0.5) * 4, prev_mask * 2 - 1], 1), 2)
        x = torch.cat([pixels, guidance.to(pixels.dtype) * 2 - 1], 1).contiguous(
            memory_format=torch.channels_last
        )
        x = self.stem(x)
        skips = [x]
        for down, level in zip(self.down[:-1], self.levels[:-1], strict=True):
            x = level(down(x))
            skips.append(x)
        return skips, self.down[-1](x)

    def decoded(self, x: Tensor, skips: Sequence[Tensor]) -> list[Tensor]:
        """The way up, from the features at 1/16: see `maps`."""
        decoded = [x]
        for i in (2, 1, 0):
            x = F.interpolate(self.lateral[i](x), scale_factor=2.0, mode="bilinear", align_corners=False)
            x = self.up[i](torch.cat([x, skips[i]], 1))
            decoded.append(x)
        return decoded[::-1]

    def _features(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fine, middle, _, deep = self.maps(image, prev_mask, clicks)
        return self._logits(fine, image), middle, deep

    def _logits(self, fine: Tensor, image: Tensor) -> Tensor:
        logits = F.pixel_shuffle(self.out(fine), 2)[..., : image.shape[-2], : image.shape[-1]]
        return logits.float()

    def _quality(self, logits: Tensor, middle: Tensor, deep: Tensor) -> Tensor:
        """Pools features inside and along the outline of the predicted mask: what tells a good mask from
        a bad one.
        """
        inside = F.adaptive_avg_pool2d(logits.sigmoid(), (middle.shape[-2], middle.shape[-1]))
        edge = 4 * inside * (1 - inside)
        middle = middle.float()
        pooled = [(middle * weight).sum((2, 3)) / (weight.sum((2, 3)) + 1) for weight in (inside, edge)]
        with exact(logits):
            quality: Tensor = self.quality(torch.cat([*pooled, deep.float().mean((2, 3))], 1))
        return quality[:, 0]
