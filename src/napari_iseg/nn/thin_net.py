"""Features of a picture at its own resolution that a pixel rule is fitted to: a U-Net without clicks.

Ours, for structures too thin for the windows of the click networks (vessels, cracks, roads in large
pictures): seen once, at full resolution, then every click costs a small linear system.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_iseg.nn.pixel_rule import PixelRule

_AROUND = 9  # quarter pixels: side of the square whose mean and spread a pixel is compared with
_LEAST_SPREAD = 0.02


class ThinNet(nn.Module):
    """U-Net from half to 1/16 resolution; its features follow by one linear map per pixel.

    Parameters
    ----------
    widths : channels at 1/2, 1/4, 1/8 and 1/16
    dim : features per pixel
    """

    divisor = 16

    def __init__(self, widths: Sequence[int] = (24, 32, 48, 64), dim: int = 12) -> None:
        super().__init__()
        self.dim = dim
        first, second, third, fourth = widths
        entry = nn.Sequential(_CellConv(6, first), nn.BatchNorm2d(first), nn.ReLU(True))
        self.level1 = nn.Sequential(entry, _conv(first, first))
        self.level2 = nn.Sequential(_conv(first, second, 2), _conv(second, second), _conv(second, second))
        self.level3 = nn.Sequential(_conv(second, third, 2), _conv(third, third), _conv(third, third))
        self.level4 = nn.Sequential(
            _conv(third, fourth, 2), _conv(fourth, fourth), _conv(fourth, fourth, apart=2)
        )
        self.lateral = nn.ModuleList(nn.Conv2d(widths[i + 1], widths[i], 1) for i in range(3))
        self.up = nn.ModuleList(_conv(width, width) for width in widths[:3])
        self.out = nn.Conv2d(first, 4 * dim, 1)
        self.rule = PixelRule()

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> features (B, dim, H, W)."""
        found = F.pixel_shuffle(self.out(self.halves(image)), 2)
        return found[..., : image.shape[-2], : image.shape[-1]].float()

    def halves(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, widths[0], h, w) at half resolution, padded to multiples of 16."""
        return self.finished(self.joined(image))

    def joined(self, image: Tensor) -> Tensor:
        """What `halves` are one convolution away from, of the same shape; enough for `at`."""
        right, bottom = -image.shape[-1] % self.divisor, -image.shape[-2] % self.divisor
        if right or bottom:
            image = F.pad(image, (0, right, 0, bottom), mode="replicate")
        skips = [self.level1(_shown(image))]
        for level in (self.level2, self.level3, self.level4):
            skips.append(level(skips[-1]))
        x = skips[-1]
        for i in (2, 1, 0):
            finer = F.interpolate(self.lateral[i](x), scale_factor=2.0, mode="bilinear", align_corners=False)
            x = finer.add_(skips[i])  # in place: a new map costs more than the sum
            if i:
                x = self.up[i](x)
        result: Tensor = x
        return result

    def finished(self, joined: Tensor) -> Tensor:
        """`halves` from `joined`, (B, widths[0], h, w) both."""
        result: Tensor = self.up[0](joined)
        return result

    def at(self, joined: Tensor, pixels: Tensor) -> Tensor:
        """Features (n, dim) at whole pixels (n, 2), from what is `joined` of one picture, (widths[0], h, w).

        The last convolution is done at these pixels only, which is why few of them are cheap.
        """
        weight, bias = self._linear()
        part = (pixels[:, 0] % 2) * 2 + pixels[:, 1] % 2
        cells = self._finished_at(joined, pixels // 2)  # (n, C)
        found = torch.einsum("pdc,nc->npd", weight, cells) + bias
        return found[torch.arange(len(part), device=part.device), part]

    def _finished_at(self, joined: Tensor, cells: Tensor) -> Tensor:
        """`halves` (n, C) at cells (n, 2)."""
        steps = torch.arange(-1, 2, device=cells.device)
        rows, cols = (cells[:, axis, None] + steps for axis in (0, 1))  # (n, 3) each
        height, width = joined.shape[-2:]
        inside = ((rows >= 0) & (rows < height))[:, :, None] & ((cols >= 0) & (cols < width))[:, None]
        rows, cols = rows.clamp(0, height - 1), cols.clamp(0, width - 1)
        near = joined.permute(1, 2, 0)[rows[:, :, None], cols[:, None]] * inside[..., None]  # (n, 3, 3, C)
        last = self.up[0]
        assert isinstance(last, nn.Sequential)
        convolution = last[0]
        assert isinstance(convolution, nn.Conv2d)
        kernel = convolution.weight.permute(0, 2, 3, 1).flatten(1)
        x = F.linear(near.flatten(1), kernel, convolution.bias)[..., None, None]
        result: Tensor = last[1:](x).flatten(1)
        return result

    def score(self, halves: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        """Logits (2 h, 2 w) of a rule; the features themselves are never made, as both steps are linear."""
        weight, shift = self._linear()
        both = torch.einsum("pdc,d->pc", weight, kernel)
        parts = torch.einsum("pc,chw->phw", both, halves) + (shift @ kernel + bias)[:, None, None]
        return F.pixel_shuffle(parts[None], 2)[0, 0]

    def fold(self) -> None:
        """Put the batch norms into the convolutions before them: same answers up to rounding."""
        for module in list(self.modules()):
            if not isinstance(module, nn.Sequential):
                continue
            convolution, norm = module[0], module[1]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module[0] = nn.utils.fuse_conv_bn_eval(convolution, norm)
                module[1] = nn.Identity()

    def _linear(self) -> tuple[Tensor, Tensor]:
        """The last map per place in a cell of 2 x 2 pixels: (4, dim, C) and (4, dim)."""
        weight = self.out.weight[:, :, 0, 0].view(self.dim, 4, -1).transpose(0, 1)
        bias = self.out.bias
        assert bias is not None
        return weight, bias.view(self.dim, 4).T


class _CellConv(nn.Conv2d):
    """A 3 x 3 convolution over cells of 2 x 2 pixels: `pixel_unshuffle` and one of 4 x ``inner`` channels.

    Done as one of 6 x 6 pixels at every other one, which moves no pixels; weights are those of the cells.
    """

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__(4 * inner, outer, 3, 1, 1, bias=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, inner, H, W), sides even -> (B, outer, H / 2, W / 2)."""
        outer, inner = self.weight.shape[:2]
        cells = self.weight.view(outer, inner // 4, 2, 2, 3, 3)  # row and column in the cell, of the cell
        kernel = cells.permute(0, 1, 4, 2, 5, 3).reshape(outer, inner // 4, 6, 6)
        kernel = kernel.contiguous(memory_format=torch.channels_last)
        return F.conv2d(pixels, kernel, self.bias, stride=2, padding=2)


def _shown(image: Tensor) -> Tensor:
    """(B, 6, H, W): colours, and those in units of their surroundings' spread."""
    rim = _AROUND // 2
    quarter = [F.avg_pool2d(values, 4) for values in (image, (image * image).mean(1, keepdim=True))]
    padded = F.pad(torch.cat(quarter, 1), (rim,) * 4, mode="replicate")
    around = F.avg_pool2d(F.avg_pool2d(padded, (_AROUND, 1), 1), (1, _AROUND), 1)
    around = F.interpolate(around, size=image.shape[-2:], mode="bilinear", align_corners=False)
    mean, square = around[:, :3], around[:, 3:]
    variance = square - (mean * mean).mean(1, keepdim=True)
    spread = variance.clamp_(min=_LEAST_SPREAD**2).sqrt_()
    shown = torch.cat([(image - 0.5).mul_(4), (image - mean).div_(spread)], 1)
    return shown.contiguous(memory_format=torch.channels_last)


def _conv(inner: int, outer: int, stride: int = 1, apart: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inner, outer, 3, stride, apart, apart, bias=False), nn.BatchNorm2d(outer), nn.ReLU(True)
    )
