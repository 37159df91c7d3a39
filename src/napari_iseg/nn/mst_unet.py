"""The MST starter: the starter's U-Net whose narrowest level takes in small and large tokens, as MST does.

Ours, not a published one. Its weights may start from the CFR-ICL starter, whose names and shapes it shares:
the scoring part is scaled by a factor that starts at zero, so that the network then answers as that one does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_iseg.nn.click_unet import ClickUNet
from napari_iseg.nn.mst import TakesIn, click_cells, within
from napari_iseg.nn.mst_score import MstOutput, ScoreRules, Selection

# The branch "main", without the reduction of middle tokens, of which there are few, and with factors from 0.
_RULES = ScoreRules(4, 1, 1, 1, 4, 0.0, True, False, 16, True, True, False)
_LONGEST = 512.0  # wavelength of the slowest position wave, in pixels; the fastest has 16


def waves(grid: tuple[int, int], stride: int, dim: int, like: Tensor) -> Tensor:
    """Sine and cosine positions of cell centres, in pixels, so that grids of any stride agree.

    (1, rows * cols, dim), half of the channels for rows and half for columns; ``dim`` a multiple of 4.
    """
    count = dim // 4
    lengths = torch.logspace(4, math.log2(_LONGEST), count, base=2.0, device=like.device, dtype=torch.float32)
    parts = []
    for size in grid:
        places = (torch.arange(size, device=like.device, dtype=torch.float32) + 0.5) * stride
        angles = 2 * torch.pi * places[:, None] / lengths
        parts.append(torch.cat([angles.sin(), angles.cos()], 1))
    rows = parts[0][:, None].expand(-1, grid[1], -1)
    cols = parts[1][None].expand(grid[0], -1, -1)
    return torch.cat([rows, cols], 2).reshape(1, -1, dim).to(like.dtype)


class TakeIn(TakesIn):
    """The scoring part alone."""

    def __init__(self, dim: int, rules: ScoreRules) -> None:
        super().__init__()
        self.add_scoring(dim, rules)


class MstUNet(ClickUNet):
    """U-Net from half to 1/16 resolution; middle tokens at 1/16, small ones at 1/8, large ones at 1/32.

    Parameters
    ----------
    widths, depths, sweeps : of the U-Net, see `ClickUNet`; the last width a multiple of 4
    """

    divisor = 32
    training_methods = ("detailed",)
    branch = "main"  # whose losses train it
    patch = 16

    def __init__(
        self,
        widths: Sequence[int] = (24, 48, 96, 160),
        depths: Sequence[int] = (1, 1, 2, 3),
        sweeps: int = 48,
    ) -> None:
        super().__init__(widths, depths, sweeps)
        self.small = nn.Conv2d(widths[2], widths[3], 1)
        self.large = nn.Conv2d(widths[3], widths[3], 1)
        self.scales = TakeIn(widths[3], _RULES)

    def detailed(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> MstOutput:
        """Logits, what was chosen of the small and large tokens, and the quality as a logit."""
        (fine, middle, _, deep), chosen = self._scored_maps(image, prev_mask, clicks)
        logits = self._logits(fine, image)
        return MstOutput(logits, [chosen], self._quality(logits.detach(), middle, deep))

    def maps(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> list[Tensor]:
        """Decoded features at 1/2, 1/4, 1/8 and 1/16 of the input, padded to a multiple of 32."""
        return self._scored_maps(image, prev_mask, clicks)[0]

    def _scored_maps(
        self, image: Tensor, prev_mask: Tensor, clicks: Tensor
    ) -> tuple[list[Tensor], tuple[Selection, Selection]]:
        skips, narrow = self.encoded(image, prev_mask, clicks)
        cells = within(clicks, image.shape[-2], image.shape[-1])
        narrow, chosen = self._take_in(narrow, skips[-1], cells)
        return self.decoded(self.levels[-1](narrow), skips), chosen

    def _take_in(
        self, narrow: Tensor, finer: Tensor, clicks: Tensor
    ) -> tuple[Tensor, tuple[Selection, Selection]]:
        """What the features at 1/16 gain from those at 1/8 and 1/32, added to them."""
        dim, grid = narrow.shape[1], (narrow.shape[2], narrow.shape[3])
        levels = (narrow, self.small(finer), self.large(F.avg_pool2d(narrow, 2)))
        places = [
            waves((level.shape[2], level.shape[3]), stride, dim, level)
            for level, stride in zip(levels, (self.patch, self.patch // 2, 2 * self.patch), strict=True)
        ]
        base, small, large = (
            level.flatten(2).transpose(1, 2) + place for level, place in zip(levels, places, strict=True)
        )
        cells = click_cells(clicks, grid, self.patch)
        after, _, _, chosen = self.scales.take_in(base, small, large, cells, grid, places[1:])
        gain = (after - base).transpose(1, 2).reshape(narrow.shape)
        return narrow + gain, chosen
