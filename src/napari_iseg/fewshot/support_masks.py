"""What IFSENet's support path draws of a clicked support: from cached features, from a closer look, or both.

The path over cached features sees the whole picture in the space in which queries are compared: it knows a
class of many objects by its likeness. A network of its own (fusion "both") looks at a window around what was
clicked: it knows one object's outline. The larger the window, the more that network's picture is reduced, and
the less it counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_iseg.fewshot.base import Support
from napari_iseg.fewshot.clicked import ClickedMasks
from napari_iseg.fewshot.first_look import FirstLook
from napari_iseg.nn.ifsenet import IfseNet
from napari_iseg.nn.ifsenet_embedding import Encoded
from napari_iseg.prompts import Click, click_array

if TYPE_CHECKING:
    from napari_iseg.backends.model import Model

Float = npt.NDArray[np.float32]
_CERTAIN = 1e-4  # probabilities are kept so far from 0 and 1


class SupportMasks:
    """Masks of clicked supports by one network.

    Parameters
    ----------
    model : whose network is an IFSENet; its inference settings are how the network of its own is asked
    """

    def __init__(self, model: Model) -> None:
        self.net = cast(IfseNet, model.net)
        self.device = model.device
        self.inference = model.inference
        self.first_look = FirstLook(self.net)
        self.own = None if self.net.own is None else ClickedMasks(model)

    @property
    def identity(self) -> str:
        """Tells apart the settings of the closer look; empty without one."""
        if self.own is None:
            return ""
        return f":clicks={blake2b(repr(self.inference).encode(), digest_size=4).hexdigest()}"

    def logits(
        self,
        support: Support,
        label: int,
        labels: Sequence[int],
        *,
        image: Tensor,
        encoded: Encoded,
        content: bytes,
    ) -> Float:
        """Logits (H, W) of a label that has a positive click.

        Parameters
        ----------
        labels : all that are asked for; positive clicks of the others lie outside
        image : (1, 3, H', W') the support's, padded as for ``encoded``
        content : tells equal images
        """
        if self.own is None:
            return self._cached(support, label, labels, image, encoded, content)
        others = [c for owner, c in support.clicks if owner != label and owner in labels and c.positive]
        state = self.own.state(support.image, support.clicks_of(label), label, others)
        assert state is not None, "asked for a label with clicks"
        found = state.probability.clip(_CERTAIN, 1 - _CERTAIN)
        close = np.log(found / (1 - found))
        side = self.inference.size[0] if state.zoom is None else max(state.zoom.shape)
        share = min(1.0, self.inference.size[0] / side)
        if share < 1:
            close = share * close + (1 - share) * self._cached(
                support, label, labels, image, encoded, content
            )
        answer: Float = close.astype(np.float32)
        return answer

    def _cached(
        self,
        support: Support,
        label: int,
        labels: Sequence[int],
        image: Tensor,
        encoded: Encoded,
        content: bytes,
    ) -> Float:
        """Of a second look, whose previous mask is the first look's."""
        clicks = click_array(_clicks_for(support, label, labels))
        points = torch.from_numpy(clicks)[None].to(self.device)
        first = self.first_look.mask(image, encoded, content, points)
        logits = self.net.support_logits(encoded, image, first, points)
        rows, cols = support.shape
        answer: Float = logits[0, 0, :rows, :cols].float().cpu().numpy()
        return answer


def _clicks_for(support: Support, label: int, labels: Sequence[int]) -> list[Click]:
    """A label's clicks, and the other labels' positive clicks as negative ones."""
    made = []
    for owner, click in support.clicks:
        if owner == label:
            made.append(click)
        elif owner in labels and click.positive:
            made.append(replace(click, positive=False))
    return made
