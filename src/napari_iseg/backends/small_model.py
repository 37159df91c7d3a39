"""A network for small objects, ready to answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_iseg.backends.base import as_device
from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.precision import answering, chosen_precision, computing
from napari_iseg.backends.small import SmallObjectsNet
from napari_iseg.nn.small_net import TILE
from napari_iseg.prompts import Click, click_array


class SmallModel:
    """A network for small objects with its card, device and precision.

    Parameters
    ----------
    card : what the network is
    net : moved to the device (in place) and put into evaluation mode
    device, precision : as for `napari_iseg.backends.model.Model`

    Raises
    ------
    DeviceError
        For a device or precision that this machine does not have.
    """

    tile = TILE

    def __init__(
        self,
        card: ModelCard,
        net: SmallObjectsNet,
        *,
        device: str | torch.device = "auto",
        precision: str = "auto",
    ) -> None:
        self.card = card
        self.device = as_device(str(device))
        self.precision = chosen_precision(precision, self.device)
        net = net.eval().requires_grad_(False).to(self.device)
        self.net: SmallObjectsNet = net.to(memory_format=torch.channels_last)

    def probability(
        self,
        image: Tensor,
        begun: npt.NDArray[np.float32],
        before: npt.NDArray[np.float32],
        clicks: Sequence[Click],
    ) -> npt.NDArray[np.float32]:
        """The probability of the object after the newest click, (S, S) float32.

        Parameters
        ----------
        image : (3, S, S) float32 in [0, 1], S = ``tile`` pixels
        begun : (S, S) float32, the click network's last probability
        before : (S, S) float32, the probability before the newest click
        clicks : in pixels of the tile, in the order given, at least one

        Raises
        ------
        DeviceError
            When the memory of a GPU is too small.
        """
        points = torch.from_numpy(click_array(clicks).astype(np.float32))[None].to(self.device)
        masks = (torch.from_numpy(mask.astype(np.float32))[None, None] for mask in (begun, before))
        with computing(self.device, self.precision, self.card.name):
            shown = image[None].to(self.device, torch.float32)
            logits = self.net(shown, *(mask.to(self.device) for mask in masks), points)
        with answering():
            return np.asarray(logits[0, 0].float().sigmoid().cpu().numpy(), np.float32)
