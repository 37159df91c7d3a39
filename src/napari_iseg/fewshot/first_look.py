"""The first look at a clicked support: small, as a whole, and click by click.

The support path learned from small windows, and from clicks that were made one after the other, each on an
error of the mask before. An object that is larger than such a window is more than the path takes in at full
resolution; and clicks shown all at once, without the masks they corrected, are not what it knows. So the
first look is at the image reduced to ``SIDE``, with one click more at a time. A second look at full
resolution starts from its mask.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_iseg.nn.ifsenet import IfseNet, padded
from napari_iseg.nn.ifsenet_embedding import Encoded

_K = TypeVar("_K")
_V = TypeVar("_V")
SIDE = 320  # pixels of the reduced image at most; smaller images are looked at as they are
_KEPT_IMAGES, _KEPT_MASKS = 8, 64  # one click more on the same support costs one pass and no encoding


class FirstLook:
    """First masks of supports by one network.

    Parameters
    ----------
    net : in evaluation mode
    """

    def __init__(self, net: IfseNet) -> None:
        self.net = net
        self._images: OrderedDict[bytes, tuple[Tensor, Encoded]] = OrderedDict()
        self._masks: OrderedDict[tuple[bytes, bytes], Tensor] = OrderedDict()

    def mask(self, image: Tensor, encoded: Callable[[], Encoded], content: bytes, clicks: Tensor) -> Tensor:
        """Probability (1, 1, H, W) of a clicked object.

        Parameters
        ----------
        image : (1, 3, H, W) float32 in [0, 1], padded as for ``encoded``
        encoded : gives the image's encoding; asked for an image that is not larger than ``SIDE`` only
        content : tells equal images
        clicks : (1, 2N, 3) float32 as in `ClickNet.forward`
        """
        rows, cols = image.shape[-2:]
        scale = SIDE / max(rows, cols)
        if scale >= 1:
            return self._clicked(image, encoded(), content, clicks)
        size = max(1, round(rows * scale)), max(1, round(cols * scale))
        small, reduced = self._reduced(image, content, size)
        found = self._clicked(small, reduced, content, _moved(clicks, (rows, cols), size))
        kept = found[..., : size[0], : size[1]]
        return F.interpolate(kept, (rows, cols), mode="bilinear", align_corners=False)

    def _clicked(self, image: Tensor, encoded: Encoded, content: bytes, clicks: Tensor) -> Tensor:
        """Click by click, from the longest row of clicks that was asked before."""
        orders = clicks[0, :, 2]
        states = [_until(clicks, order) for order in sorted(orders[orders >= 0].tolist())]
        keys = [(content, _name(state)) for state in states]
        mask, begin = torch.zeros_like(image[:, :1]), 0
        for index in reversed(range(len(keys))):
            found = self._masks.get(keys[index])
            if found is not None:
                mask, begin = found, index + 1
                break
        for state, key in zip(states[begin:], keys[begin:], strict=True):
            mask = self.net.support_logits(encoded, image, mask, state).sigmoid()
            _keep(self._masks, key, mask, _KEPT_MASKS)
        return mask

    def _reduced(self, image: Tensor, content: bytes, size: tuple[int, int]) -> tuple[Tensor, Encoded]:
        found = self._images.get(content)
        if found is None:
            small = padded(F.interpolate(image, size, mode="area"), self.net.divisor)
            found = small, self.net.encode(small)
        _keep(self._images, content, found, _KEPT_IMAGES)
        return found


def _keep(store: OrderedDict[_K, _V], key: _K, value: _V, most: int) -> None:
    store[key] = value
    store.move_to_end(key)
    if len(store) > most:
        store.popitem(last=False)


def _until(clicks: Tensor, order: float) -> Tensor:
    """The clicks up to one, later rows unused."""
    return torch.where(clicks[..., 2:] > order, torch.full_like(clicks, -1.0), clicks)


def _name(clicks: Tensor) -> bytes:
    """Tells equal clicks, whatever the number of unused rows."""
    positive, negative = clicks[0].chunk(2)
    return b"|".join(rows[rows[:, 2] >= 0].cpu().numpy().tobytes() for rows in (positive, negative))


def _moved(clicks: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Clicks of an image resized from ``old`` to ``new``; unused rows (order -1) stay as they are."""
    ratio = clicks.new_tensor([new[0] / old[0], new[1] / old[1]])
    places = ((clicks[..., :2] + 0.5) * ratio - 0.5).clamp(min=0)
    used = clicks[..., 2:] >= 0
    return torch.cat([torch.where(used, places, clicks[..., :2]), clicks[..., 2:]], -1)
