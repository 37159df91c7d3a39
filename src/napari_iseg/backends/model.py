"""A network ready to answer: on its device, in its precision, with its way of being run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from napari_iseg import backends
from napari_iseg.backends.base import ClickNet, Inference, as_device, check_settings
from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.embeddings import EmbeddingCache, identity
from napari_iseg.backends.host_memory import keep_freed_memory
from napari_iseg.backends.precision import chosen_precision, computing, too_large
from napari_iseg.disk_cache import LIMIT, DiskCache
from napari_iseg.errors import InputError

_REMEMBERED_SIZES = 32

_T = TypeVar("_T")


class Model:
    """A network with its card, device, precision and inference settings.

    Parameters
    ----------
    card
        What the network is.
    net
        Moved to the device (in place) and put into evaluation mode.
    device
        "auto" (a GPU when there is one), "cpu", "cuda", "cuda:N", "mps", or a torch device.
    precision
        "auto", "float32", "bfloat16" or "float16". "auto" is float32, as published, and bfloat16 on a GPU or
        CPU with units for it, see `chosen_precision`.
    inference
        None for the backend's published settings with the card's own on top.

    Raises
    ------
    DeviceError
        For a device or precision that this machine does not have.
    InputError
        For an inference setting, on the card or given, that is unknown or cannot be.
    """

    def __init__(
        self,
        card: ModelCard,
        net: ClickNet,
        *,
        device: str | torch.device = "auto",
        precision: str = "auto",
        inference: Inference | None = None,
    ) -> None:
        self.card = card
        self.device = as_device(str(device))
        self.precision = chosen_precision(precision, self.device)
        if self.device.type == "cpu":
            keep_freed_memory()
        if inference is None:
            published = backends.get_click(card.backend).inference_for(card.variant)
            inference = published.with_options(**card.inference)
        self.inference = check_settings(inference)
        try:
            self.net: ClickNet = net.eval().to(self.device).to(memory_format=torch.channels_last)
        except torch.cuda.OutOfMemoryError:
            raise too_large(self.device, card.name) from None
        self.embeddings = EmbeddingCache()  # of networks that encode a picture apart from its prompts
        self.helpers: dict[str, Any] = {}  # other models that answer beside this one, by name, once loaded
        self._prepared: set[tuple[int, int]] = set()

    def logits(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> Tensor:
        """Mask logits.

        Parameters
        ----------
        image : (B, 3, H, W) float
            RGB in [0, 1], on any device.
        prev_mask : (B, 1, H, W) float
            Probability in [0, 1]; zeros when there is none.
        clicks : (B, 2N, 3) float
            Rows (row, col, order), N positive then N negative, unused rows -1.

        Returns
        -------
        (B, 1, H, W) float32
            On the CPU.

        Raises
        ------
        InputError
            For shapes that do not fit together.
        DeviceError
            When the memory of a GPU is too small.
        """
        logits: Tensor = self._run(self.net, image, prev_mask, clicks)
        return logits.float().cpu()

    def scored(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> tuple[Tensor, Tensor]:
        """As `logits`, and per sample how good the network believes its mask to be: (B,) in [0, 1]."""
        logits, score = self._run(self.net.scored, image, prev_mask, clicks)
        return logits.float().cpu(), score.float().cpu()

    def with_inference(self, **options: Any) -> Model:
        """The same network run with other settings (fields of `Inference`); nothing is copied."""
        inference = check_settings(self.inference.with_options(**options))
        other = object.__new__(Model)
        other.__dict__ = {**self.__dict__, "inference": inference}
        return other

    def run(self, call: Callable[..., _T], *inputs: Tensor | None, **options: Any) -> _T:
        """A method of the network on this model's device and in its precision; the answer stays there."""
        moved = [None if x is None else x.to(self.device, torch.float32) for x in inputs]
        with computing(self.device, self.precision, self.card.name):
            return call(*moved, **options)

    def keep_embeddings(
        self, *, memory: int | None = None, folder: Path | None = None, limit: int = LIMIT
    ) -> None:
        """Where embeddings of pictures are kept, by networks that have them.

        Parameters
        ----------
        memory
            Bytes at most in memory; None leaves the limit as it is.
        folder
            Keep them on disk there too, so that an image seen before is answered at once; None: not.
        limit
            Bytes at most in ``folder``, of all networks; the least recently used go first.
        """
        if memory is not None:
            self.embeddings.memory = memory
        self.embeddings.disk = None if folder is None else DiskCache(folder, limit)
        self.embeddings.owner = "" if folder is None else f"{identity(self.net, self.precision)}-"

    def _run(self, call: Callable[..., _T], image: Tensor, prev_mask: Tensor, clicks: Tensor) -> _T:
        _check_shapes(image, prev_mask, clicks)
        with computing(self.device, self.precision, self.card.name):
            size = (int(image.shape[-2]), int(image.shape[-1]))
            if size not in self._prepared:
                if len(self._prepared) >= _REMEMBERED_SIZES:
                    self._prepared.clear()
                self.net.prepare(*size)
                self._prepared.add(size)
            image = image.to(self.device, torch.float32, memory_format=torch.channels_last)
            # Clicks stay exact: a pixel may lie right on a disk's radius (Apple's GPUs lack float64).
            exact = torch.float32 if self.device.type == "mps" else torch.float64
            return call(image, prev_mask.to(self.device, torch.float32), clicks.to(self.device, exact))


def _check_shapes(image: Tensor, prev_mask: Tensor, clicks: Tensor) -> None:
    """Refuse what is not (B, 3, H, W), (B, 1, H, W) and (B, 2N, 3)."""
    shown, before, given = (tuple(tensor.shape) for tensor in (image, prev_mask, clicks))
    fits = len(shown) == 4 and len(given) == 3 and before == (shown[0], 1, *shown[2:])
    if not fits or shown[1] != 3 or given[0] != shown[0] or given[1] % 2 or given[2] != 3:
        raise InputError(
            "A click network takes an image (B, 3, H, W), a mask (B, 1, H, W) and clicks (B, 2N, 3), got "
            f"{shown}, {before} and {given}."
        )
