"""A network that finishes small objects at the image's own resolution, click by click.

Ours. A click network that shows a nucleus of twelve pixels at a hundred redraws it from what it has learnt of
outlines; a click on one wrong pixel of the rim moves little else. This one starts from the mask that is there
and has learnt one thing: what a click on a small object says of the rest of its outline. It is also shown,
all along, what the click network found last, which its own answers would otherwise drift away from.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_iseg.nn.exact import exact

TILE = 64  # pixels: side of what is seen
_SURE = 1e-3  # probabilities are taken so far from 0 and 1
_CHANNELS = 14


class SmallNet(nn.Module):
    """U-Net of two levels, at 1/2 and 1/4 resolution, that changes a mask's logits.

    Parameters
    ----------
    widths : channels at 1/2 and 1/4
    """

    def __init__(self, widths: Sequence[int] = (48, 96)) -> None:
        super().__init__()
        fine, coarse = widths
        self.stem = _Block(4 * _CHANNELS, fine)
        self.down = nn.Conv2d(fine, coarse, 3, 2, 1)
        self.middle = nn.Sequential(_Block(coarse, coarse), _Block(coarse, coarse))
        self.everywhere = nn.Linear(coarse, coarse)
        self.lateral = nn.Conv2d(coarse, fine, 1)
        self.up = _Block(2 * fine, fine)
        self.out = nn.Conv2d(fine, 4, 3, padding=1)
        nn.init.zeros_(self.out.weight)  # untrained, it leaves the mask as it is
        assert self.out.bias is not None
        nn.init.zeros_(self.out.bias)

    def forward(self, image: Tensor, begun: Tensor, before: Tensor, clicks: Tensor) -> Tensor:
        """Logits (B, 1, S, S) float32 of the object after the newest click.

        Parameters
        ----------
        image : (B, 3, S, S) in [0, 1], S a multiple of 4
        begun : (B, 1, S, S) float, the click network's last probability, from before this one's first answer
        before : (B, 1, S, S) float, the probability before the newest click
        clicks : (B, 2N, 3) float, rows (row, col, order): N positive, then N negative, unused rows -1; the
            newest has the largest order
        """
        with exact(image):
            first, logits = torch.logit(begun.float(), _SURE), torch.logit(before.float(), _SURE)
            seen = torch.cat(
                [_shown(image.float()), first / 4, logits / 4, *_told(logits, clicks.float())], 1
            )
        x = F.pixel_unshuffle(seen.to(image.dtype), 2).contiguous(memory_format=torch.channels_last)
        fine = self.stem(x)
        x = self.middle(F.relu(self.down(fine)))
        x = x + self.everywhere(x.mean((2, 3)))[:, :, None, None]
        x = F.interpolate(self.lateral(x), scale_factor=2.0, mode="bilinear", align_corners=False)
        x = self.up(torch.cat([fine, x], 1))
        return logits + F.pixel_shuffle(self.out(x), 2).float()


class _Block(nn.Module):
    """Residual pair of 3x3 convolutions with group norm."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(max(1, outer // 16), outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(max(1, outer // 16), outer)
        self.skip = nn.Identity() if inner == outer else nn.Conv2d(inner, outer, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inner, h, w) -> (B, outer, h, w)."""
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + self.skip(x))


def _shown(image: Tensor) -> Tensor:
    """Colours in units of the tile's own contrast, so that faint objects look like bright ones."""
    spread = image.std((1, 2, 3), keepdim=True).clamp(min=0.02)
    return 0.7 * (image - image.mean((2, 3), keepdim=True)) / spread


def _told(logits: Tensor, clicks: Tensor) -> list[Tensor]:
    """What the clicks say, nine maps: those of a sign, the newest one, how wrong it found the mask."""
    side = torch.arange(logits.shape[-1], device=logits.device, dtype=torch.float32)
    unused = clicks[..., :2].amax(-1) < 0
    away = torch.hypot(side[:, None] - clicks[..., 0, None, None], side - clicks[..., 1, None, None])
    away = away.masked_fill(unused[..., None, None], torch.inf)
    signs = [part.amin(1, keepdim=True) for part in away.chunk(2, 1)]
    of_signs = [torch.cat([torch.exp(-part.square()), torch.exp(-part / 4)], 1) for part in signs]
    newest = clicks[..., 2].masked_fill(unused, -torch.inf).argmax(1)
    each = torch.arange(len(clicks), device=clicks.device)
    positive = newest < clicks.shape[1] // 2
    sign = torch.where(positive, 1.0, -1.0)[:, None, None, None]
    last = away[each, newest][:, None]
    row, col = (clicks[each, newest, axis].round().long().clamp(0, len(side) - 1) for axis in (0, 1))
    wrong = -sign * logits[each, 0, row, col][:, None, None, None] / 4
    count = (~unused).sum(1)[:, None, None, None] / 10
    plain = torch.ones_like(logits)
    of_newest = torch.cat([sign * torch.exp(-last.square() / 2), sign * torch.exp(-last / 6)], 1)
    return [*of_signs, of_newest, wrong * plain, sign * plain, count * plain]
