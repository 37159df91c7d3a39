"""The square a SAM sees: a picture resized to its long side, at the top left, the rest padding.

Segment Anything (arXiv 2304.02643), as its predictor does it: coordinates are multiplied by the ratio of the
sizes, pictures are resized with antialiasing, logits come back through the padded square.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

_NOTHING = -10.0  # logit of the padding in a mask that is fed back


@dataclass(frozen=True)
class SquareFrame:
    """Where a picture of (height, width) pixels lies in a square of ``side`` pixels."""

    height: int
    width: int
    side: int

    @property
    def size(self) -> tuple[int, int]:
        """(rows, cols) of the resized picture: the longer one is ``side``."""
        ratio = self.side / max(self.height, self.width)
        return max(1, int(self.height * ratio + 0.5)), max(1, int(self.width * ratio + 0.5))

    def picture(self, image: Tensor) -> Tensor:
        """The picture (B, C, height, width), resized to ``size``."""
        if self.size == (self.height, self.width):
            return image
        return F.interpolate(image, self.size, mode="bilinear", align_corners=False, antialias=True)

    def points(self, positions: Tensor) -> Tensor:
        """(..., 2) of (row, col) in picture pixels as (x, y) in pixels of the square."""
        rows, cols = self.size
        ratios = positions.new_tensor((cols / self.width, rows / self.height))
        return positions.flip(-1) * ratios

    def restored(self, logits: Tensor) -> Tensor:
        """Low-resolution logits (B, C, L, L) of the square as (B, C, height, width) of the picture."""
        rows, cols = self.size
        whole = F.interpolate(logits, (self.side, self.side), mode="bilinear", align_corners=False)
        inside = whole[..., :rows, :cols]
        if (rows, cols) == (self.height, self.width):
            return inside
        return F.interpolate(inside, (self.height, self.width), mode="bilinear", align_corners=False)

    def reduced(self, logits: Tensor, low: int) -> Tensor:
        """Logits (B, 1, height, width) of the picture as (B, 1, low, low) of the square, for feeding back."""
        rows, cols = self.size
        inside = F.interpolate(logits, (rows, cols), mode="bilinear", align_corners=False, antialias=True)
        whole = F.pad(inside, (0, self.side - cols, 0, self.side - rows), value=_NOTHING)
        return F.interpolate(whole, (low, low), mode="bilinear", align_corners=False, antialias=True)
