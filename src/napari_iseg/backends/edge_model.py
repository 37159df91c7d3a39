"""A network that refines the edges of a mask, ready to answer: on its device, with its way of being run."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage as ndi
from torch import Tensor

from napari_iseg.backends.base import as_device
from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.edge_contrast import believed, stroke
from napari_iseg.backends.edge_input import PREPARATIONS, Prepared, mask_levels, read_answer
from napari_iseg.backends.is5net import EdgeNet
from napari_iseg.backends.precision import chosen_precision, computing, too_large
from napari_iseg.errors import InputError
from napari_iseg.nn.is5net import fold_norms
from napari_iseg.prompts import Box

_OF_STROKE: Final = 0.1  # of a stroke's width: what smoothing may take
_SIZE_STEP: Final = 32  # smaller maps than that at the deepest stage see nothing


@dataclass(frozen=True, slots=True)
class EdgeOptions:
    """How a refinement network is run; the defaults are ours, see docs/methods.md.

    Parameters
    ----------
    size
        Side of the square that a window is resized to.
    preparation
        "data-set", as the published network was trained, "demo", as in the released notebook, or "contrast",
        ours, in colours fitted to the coarse mask: for networks that were trained with it.
    cut
        "fixed", at ``threshold``, or "otsu", of the stretched map as in the notebook.
    threshold
        A pixel is object where the probability is larger.
    smooth
        Ours, for small networks: the answer is smoothed by a Gaussian of this deviation, in pixels of the
        network's input, or of a tenth of the width of the mask's strokes where that is less; 0: none.
    """

    size: int = 1024
    preparation: str = "data-set"
    cut: str = "fixed"
    threshold: float = 0.5
    smooth: float = 0.0

    def with_options(self, **options: Any) -> EdgeOptions:
        """A copy with some fields replaced.

        Raises
        ------
        InputError
            For an unknown name, with the valid ones, or a value that cannot be.
        """
        known = [f.name for f in fields(self)]
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise InputError(
                f"Unknown refinement option {unknown[0]!r}; valid are {', '.join(sorted(known))}."
            )
        made = replace(self, **options)
        if made.preparation not in PREPARATIONS or made.cut not in ("fixed", "otsu"):
            raise InputError(
                f"preparation is 'data-set', 'demo' or 'contrast' and cut is 'fixed' or 'otsu', got "
                f"{made.preparation!r} and {made.cut!r}."
            )
        if made.size < _SIZE_STEP or made.size % _SIZE_STEP or not 0 < made.threshold < 1:
            raise InputError(
                f"size must be a multiple of {_SIZE_STEP} and threshold lie between 0 and 1, got {made.size} "
                f"and {made.threshold}."
            )
        if not 0 <= made.smooth <= made.size:
            raise InputError(f"smooth is a number of pixels from 0 on, got {made.smooth}.")
        return made


class EdgeModel:
    """A refinement network with its card, device, precision and options.

    Parameters
    ----------
    card
        What the network is.
    net
        Taken over: moved to the device and, on a CPU, its norms folded into its convolutions.
    device
        As for `napari_iseg.backends.model.Model`.
    precision
        As for `napari_iseg.backends.model.Model`.
    options
        None for the defaults with the card's ``inference`` on top.

    Raises
    ------
    DeviceError
        For a device or precision that this machine does not have.
    InputError
        For an unknown option on the card.
    """

    def __init__(
        self,
        card: ModelCard,
        net: EdgeNet,
        *,
        device: str | torch.device = "auto",
        precision: str = "auto",
        options: EdgeOptions | None = None,
    ) -> None:
        self.card = card
        self.options = EdgeOptions().with_options(**card.inference) if options is None else options
        self.device = as_device(str(device))
        self.precision = chosen_precision(precision, self.device)
        net = net.eval().requires_grad_(False)
        fold_norms(net)  # 10 to 20 % faster, equal up to rounding
        try:
            self.net: EdgeNet = net.to(self.device).to(memory_format=torch.channels_last)
        except torch.cuda.OutOfMemoryError:
            raise too_large(self.device, self.card.name) from None

    @property
    def identity(self) -> str:
        """What decides the answers beside the image, mask and box: for caches and journals."""
        return f"{self.card.name}:{self.card.sha256[:16]}:{self.precision}:{self.options}"

    @property
    def size(self) -> int:
        """Side of the square that a window is resized to, in pixels."""
        return self.options.size

    @property
    def threshold(self) -> float:
        """A pixel is object where the probability is larger."""
        return self.options.threshold

    def with_options(self, **options: Any) -> EdgeModel:
        """The same network run with other options (fields of `EdgeOptions`); nothing is copied."""
        other = object.__new__(EdgeModel)
        other.__dict__ = {**self.__dict__, "options": self.options.with_options(**options)}
        return other

    def probability(
        self, image: npt.NDArray[np.float32], mask: npt.NDArray[Any], box: Box | None = None
    ) -> npt.NDArray[np.float32]:
        """What the network makes of one window, which is resized to its input as a whole.

        Parameters
        ----------
        image : (H, W, 3) float32
            RGB in [0, 1].
        mask : (H, W) bool, int or float
            The coarse mask; as numbers 0/1 or 0/255, or a probability.
        box
            In pixels of the window; None: the smallest one around the mask.

        Returns
        -------
        (H, W) float32
            Probability in [0, 1]. With ``cut = "otsu"`` it is 0 or 1: the notebook's answer. With
            ``preparation = "contrast"`` it is 0 apart from the mask.

        Raises
        ------
        InputError
            For arrays that do not fit together, or an empty mask without a box.
        """
        given = PREPARATIONS[self.options.preparation](image, mask, box, self.options.size)
        inside = mask_levels(mask) > 127
        found = read_answer(self._smoothed(self._answer(given), inside), mask.shape, self.options.cut)
        if self.options.preparation != "contrast":
            return found
        return believed(found, inside, self.options.threshold)

    def _smoothed(self, answer: Tensor, inside: npt.NDArray[np.bool_]) -> Tensor:
        """The answer (1, 1, S, S) without its roughness; thin strokes must not be smoothed away."""
        if not self.options.smooth:
            return answer
        width = stroke(inside) * self.options.size / max(inside.shape)
        deviation = min(self.options.smooth, _OF_STROKE * width)
        return torch.from_numpy(ndi.gaussian_filter(answer.float().numpy(), deviation, axes=(2, 3)))

    def _answer(self, given: Prepared) -> Tensor:
        with computing(self.device, self.precision, self.card.name):
            image = given.image.to(self.device, memory_format=torch.channels_last)
            return self.net.answer(image, given.mask.to(self.device), given.box.to(self.device)).cpu()
