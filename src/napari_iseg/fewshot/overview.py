"""A large support seen small, as a whole, before it is looked at in full.

The support path learned from small windows. An object that is larger than those is more than it takes in at
full resolution; in the overview it is not, and its mask there tells the second look where to look.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_iseg.nn.ifsenet import IfseNet, padded
from napari_iseg.nn.ifsenet_embedding import Encoded

SIDE = 320  # pixels of an overview at most; smaller images need none
_KEPT = 8  # overviews: one more click on the same support costs no further encoding


class Overviews:
    """First masks of large supports by one network.

    Parameters
    ----------
    net : in evaluation mode
    """

    def __init__(self, net: IfseNet) -> None:
        self.net = net
        self._kept: OrderedDict[bytes, tuple[Tensor, Encoded]] = OrderedDict()

    def mask(self, image: Tensor, content: bytes, clicks: Tensor) -> Tensor | None:
        """Probability (1, 1, H, W) of a clicked object; None for an image that is small itself.

        Parameters
        ----------
        image : (1, 3, H, W) float32 in [0, 1]
        content : tells equal images
        clicks : (1, 2N, 3) float32 as in `ClickNet.forward`
        """
        rows, cols = image.shape[-2:]
        scale = SIDE / max(rows, cols)
        if scale >= 1:
            return None
        size = max(1, round(rows * scale)), max(1, round(cols * scale))
        small, encoded = self._encoded(image, content, size)
        logits = self.net.support_logits(
            encoded, small, torch.zeros_like(small[:, :1]), _moved(clicks, (rows, cols), size)
        )
        kept = logits[..., : size[0], : size[1]]
        return F.interpolate(kept, (rows, cols), mode="bilinear", align_corners=False).sigmoid()

    def _encoded(self, image: Tensor, content: bytes, size: tuple[int, int]) -> tuple[Tensor, Encoded]:
        found = self._kept.pop(content, None)
        if found is None:
            small = padded(F.interpolate(image, size, mode="area"), self.net.divisor)
            found = small, self.net.encode(small)
        self._kept[content] = found
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found


def _moved(clicks: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Clicks of an image resized from ``old`` to ``new``; unused rows (order -1) stay as they are."""
    ratio = clicks.new_tensor([new[0] / old[0], new[1] / old[1]])
    places = ((clicks[..., :2] + 0.5) * ratio - 0.5).clamp(min=0)
    used = clicks[..., 2:] >= 0
    return torch.cat([torch.where(used, places, clicks[..., :2]), clicks[..., 2:]], -1)
