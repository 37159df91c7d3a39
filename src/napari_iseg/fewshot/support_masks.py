"""What IFSENet's support path draws of a clicked support: from cached features, from a closer look, or both.

The path over cached features sees the whole picture in the space in which queries are compared: of one click
on a nucleus it finds the others. A network of its own (fusion "both") looks at a window around what was
clicked: it knows outlines. One or two clicks do not say whether one object is meant or its whole class. Where
both draw what was clicked alike, the class is taken; later clicks correct that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from napari_iseg.interactive.state import State
from napari_iseg.nn.ifsenet import IfseNet
from napari_iseg.nn.ifsenet_embedding import Encoded
from napari_iseg.prompts import Click, click_array

if TYPE_CHECKING:
    from napari_iseg.backends.model import Model

Float = npt.NDArray[np.float32]
_CERTAIN = 1e-4  # probabilities are kept so far from 0 and 1
_FEW_CLICKS = 2  # that leave open whether an object or its class is meant
_ALIKE = 0.7  # IoU in the window of the closer look


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
        encoded: Callable[[], Encoded],
        content: bytes,
    ) -> Float:
        """Logits (H, W) of a label that has a positive click.

        Parameters
        ----------
        labels : all that are asked for; positive clicks of the others lie outside
        image : (1, 3, H', W') the support's, padded as for ``encoded``
        encoded : gives its encoding, where that is needed
        content : tells equal images
        """
        own = support.clicks_of(label)
        others = [c for owner, c in support.clicks if owner != label and owner in labels and c.positive]
        if self.own is None:
            return self._cached(support, own, others, image, encoded, content)

        def revised(state: State) -> State:
            if len(state.clicks) > _FEW_CLICKS:
                return state
            points = self._points(state.clicks, [])
            seen = self.first_look.mask(image, encoded, content, points)[0, 0]
            return _class_meant(state, seen[: state.shape[0], : state.shape[1]].float().cpu().numpy())

        found = self.own.state(support.image, own, label, others, revised)
        assert found is not None, "asked for a label with clicks"
        probability = found.probability.clip(_CERTAIN, 1 - _CERTAIN)
        answer: Float = np.log(probability / (1 - probability)).astype(np.float32)
        return answer

    def _cached(
        self,
        support: Support,
        own: Sequence[Click],
        others: Sequence[Click],
        image: Tensor,
        encoded: Callable[[], Encoded],
        content: bytes,
    ) -> Float:
        """Of a second look, whose previous mask is the first look's."""
        points = self._points(own, others)
        first = self.first_look.mask(image, encoded, content, points)
        logits = self.net.support_logits(encoded(), image, first, points)
        rows, cols = support.shape
        answer: Float = logits[0, 0, :rows, :cols].float().cpu().numpy()
        return answer

    def _points(self, own: Sequence[Click], others: Sequence[Click]) -> Tensor:
        """(1, 2N, 3): a label's clicks, and the other labels' positive clicks as negative ones."""
        clicks = [*(replace(c, positive=False) for c in others), *own]
        return torch.from_numpy(click_array(clicks))[None].to(self.device)


def _class_meant(state: State, seen: Float) -> State:
    """The class of what was clicked instead of the object alone, where both are drawn alike around the click.

    Parameters
    ----------
    seen : (H, W) probability of the class
    """
    window = state.zoom.slices if state.zoom is not None else np.s_[:, :]
    close, wide = state.probability[window] > 0.5, seen[window] > 0.5
    alike = float((close & wide).sum()) / max(1.0, float((close | wide).sum()))
    return replace(state, probability=seen, zoom=None) if alike > _ALIKE else state
