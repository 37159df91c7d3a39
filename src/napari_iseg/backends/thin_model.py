"""A network for thin structures, ready to answer: it sees a picture once, clicks fit a rule to that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_iseg.backends.base import as_device
from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.precision import answering, chosen_precision, computing
from napari_iseg.backends.thin import PixelNet
from napari_iseg.errors import InputError
from napari_iseg.nn.pixel_rule import Fitted, fits, spread
from napari_iseg.prompts import Click, click_array

_ANYWHERE = 4000  # pixels that stand for the picture at large
_AT_ONCE = 1024 * 1024  # pixels that are seen at once; a larger picture is seen in strips
_HALO = 160  # rows beyond a strip on which its features depend; a multiple of the network's 16


@dataclass
class Seen:
    """What the network saw of a picture.

    Attributes
    ----------
    joined : (C, h, w) maps at half resolution, on the model's device; enough for the features of few pixels
    anywhere : (A, D) float64 features of pixels all over the picture
    shape : (rows, columns) of the picture
    halves : (C, h, w) maps that the features of all pixels follow from; made when they are first wanted
    """

    joined: Tensor
    anywhere: Tensor
    shape: tuple[int, int]
    halves: Tensor | None = None


class ThinModel:
    """A network for thin structures with its card, device and precision.

    Parameters
    ----------
    card : what the network is
    net : taken over: moved to the device and its norms folded into its convolutions
    device, precision : as for `napari_iseg.backends.model.Model`

    Raises
    ------
    DeviceError
        For a device or precision that this machine does not have.
    """

    threshold = 0.5  # a pixel is like those clicked on where the probability is larger

    def __init__(
        self, card: ModelCard, net: PixelNet, *, device: str | torch.device = "auto", precision: str = "auto"
    ) -> None:
        self.card = card
        self.device = as_device(str(device))
        self.precision = chosen_precision(precision, self.device)
        net = net.eval().requires_grad_(False)
        net.fold()
        self.net: PixelNet = net.to(self.device).to(memory_format=torch.channels_last)
        self.rule = net.rule.cpu()  # small systems are solved exactly, on the CPU

    def look(self, image: Tensor) -> Seen:
        """See a picture, (3, rows, cols) float32 in [0, 1], for all clicks to come.

        Raises
        ------
        DeviceError
            When the memory of a GPU is too small.
        """
        with computing(self.device, self.precision, self.card.name):
            joined = self._joined(image)
        shape = int(image.shape[-2]), int(image.shape[-1])
        with answering():
            return Seen(joined, self._rows(joined, spread(shape, _ANYWHERE)), shape)

    def _joined(self, image: Tensor) -> Tensor:
        """The half-resolution maps of a picture, strip by strip where it is large."""
        strips = _strips(image)
        if len(strips) == 1:
            return self._strip(image, *strips[0])
        first = self._strip(image, *strips[0])
        rows = -(-int(image.shape[-2]) // self.net.divisor) * self.net.divisor // 2
        joined = first.new_empty(1, first.shape[0], rows, first.shape[2])
        joined = joined.contiguous(memory_format=torch.channels_last)[0]
        joined[:, : first.shape[1]] = first
        for top, bottom in strips[1:]:
            found = self._strip(image, top, bottom)
            joined[:, top // 2 : top // 2 + found.shape[1]] = found
        return joined

    def _strip(self, image: Tensor, top: int, bottom: int) -> Tensor:
        """The maps (C, rows / 2, w) of some rows, float32, as the whole picture gives them."""
        first = max(0, top - _HALO)
        given = image[None, :, first : bottom + _HALO].to(self.device, torch.float32)
        found = self.net.joined(given)[0].float()
        last = found.shape[1] if bottom >= image.shape[-2] else (bottom - first) // 2
        return found[:, (top - first) // 2 : last]

    def probability(self, seen: Seen, clicks: Sequence[Click]) -> npt.NDArray[np.float32]:
        """Which pixels are like those clicked on: (rows, cols) float32.

        Parameters
        ----------
        clicks : in pixels of the picture, in the order given; at least one positive

        Raises
        ------
        InputError
            Without a positive click.
        """
        if not any(click.positive for click in clicks):
            raise InputError("There is no click on the object yet; click on it first.")
        with answering():
            rule = self._rules(seen, clicks, (len(clicks),))[0]
            kernel, bias = (part.to(self.device, torch.float32) for part in rule)
            if seen.halves is None:
                seen.halves = self.net.finished(seen.joined[None])[0]
            logits = self.net.score(seen.halves, kernel, bias)[: seen.shape[0], : seen.shape[1]]
            return np.asarray(logits.sigmoid().cpu().numpy(), np.float32)

    def foreseen(self, seen: Seen, clicks: Sequence[Click]) -> list[bool]:
        """For each click after the first, whether the rule of those before it had that pixel right already.

        Parameters
        ----------
        clicks : in pixels of the picture, in the order given, the first one positive
        """
        with answering():
            rules = self._rules(seen, clicks[:-1], range(1, len(clicks)))
            pixels = torch.tensor([(round(click.row), round(click.col)) for click in clicks[1:]])
            pixels = torch.minimum(pixels.clamp(min=0), torch.tensor(seen.shape) - 1)
            found = self._rows(seen.joined, pixels)
        return [
            bool(features @ rule.kernel + rule.bias > 0) == click.positive
            for features, rule, click in zip(found, rules, clicks[1:], strict=True)
        ]

    def _rules(self, seen: Seen, clicks: Sequence[Click], counts: Sequence[int]) -> list[Fitted]:
        points = torch.from_numpy(click_array(clicks).astype(np.float64))
        rows = partial(self._rows, seen.joined)
        return fits(self.rule, rows, points, seen.anywhere, seen.shape, counts)

    def _rows(self, joined: Tensor, pixels: Tensor) -> Tensor:
        return self.net.at(joined, pixels.to(self.device)).cpu().double()


def _strips(image: Tensor) -> list[tuple[int, int]]:
    """Rows (top, bottom) of the strips in which a picture is seen; tops are multiples of the network's 16."""
    rows, cols = int(image.shape[-2]), int(image.shape[-1])
    if rows * cols <= _AT_ONCE:
        return [(0, rows)]
    step = max(_HALO, (_AT_ONCE // cols - 2 * _HALO) // 16 * 16)
    return [(top, min(rows, top + step)) for top in range(0, rows, step)]
