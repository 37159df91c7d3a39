"""Samples as CFR-ICL's and MST's training scripts draw them: whole pictures augmented to one size, then
objects and clicks.

Follows the published sampling of objects (unions with probability 0.15, few empty samples), clicks and SUEM.
Our own
`samples.Samples` cuts windows around objects instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_iseg.errors import InputError
from napari_iseg.nn.torchvision_guard import need_torchvision
from napari_iseg.training.bank import Bank
from napari_iseg.training.checks import options_of
from napari_iseg.training.clicks import ClickSampler
from napari_iseg.training.indexed import IndexedSamples
from napari_iseg.training.suem import suem

Rule = Literal["cocolvis", "sbd", "mst"]
Masks = list[npt.NDArray[np.bool_]]

_MIN_AREA: Final = MappingProxyType({"cocolvis": 1000, "sbd": 20, "mst": 1000})
_KEEP_EMPTY: Final = MappingProxyType({"cocolvis": 0.05, "sbd": 0.01, "mst": 0.05})
RULES: Final[tuple[Rule, ...]] = ("cocolvis", "sbd", "mst")
_TRIES = 50


@dataclass(frozen=True)
class PublishedOptions:
    """How samples are drawn.

    Parameters
    ----------
    size : side of the samples, pixels; 448 in the published training
    max_clicks : of each sign; 24 for ViT-B and 12 for ViT-H
    with_suem : whether samples go through the SUEM stages
    """

    size: int = 448
    max_clicks: int = 24
    with_suem: bool = True


class PublishedSamples(IndexedSamples[Bank]):
    """An endless set of samples by index, with the entries of `samples.Samples`.

    Parameters
    ----------
    rule : "cocolvis" or "sbd", the two recipes of CFR-ICL, or "mst", MST's
    options : fields of `PublishedOptions`
    """

    def __init__(self, bank: Bank, rule: Rule, seed: int, length: int, **options: Any) -> None:
        super().__init__(bank, seed, length)
        self.rule = rule
        self.options = options_of(PublishedOptions, options, f"sampling = {rule!r}")
        self.clicks = ClickSampler(max_clicks=self.options.max_clicks)
        need_torchvision()
        from napari_iseg.training.augment import published_augmentation  # torchvision, loaded for these alone

        self._augment = published_augmentation(rule, self.options.size)

    def draw(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """See the class."""
        del index
        image, objects = self._draw(rng, rng.random() < _KEEP_EMPTY[self.rule])
        empty = np.zeros(image.shape[:2], np.bool_)
        chosen = self.clicks.choose_objects(len(objects), rng) if objects else []
        targets = [objects[i] for i in chosen]
        rest = [mask for i, mask in enumerate(objects) if i not in chosen]
        others = np.logical_or.reduce(rest) if rest else None
        truth = np.logical_or.reduce(targets) if targets else empty
        if self.options.with_suem and targets:
            image, edited = suem(image, truth, lambda: self._extra(rng), rng)
            if edited is not truth:
                targets, truth, others = [edited], edited, None
        clicks = self.clicks.sample(targets, others if targets else empty, rng)
        return {
            "image": torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1).contiguous(),
            "truth": torch.from_numpy(truth.astype(np.float32))[None],
            "clicks": torch.from_numpy(clicks),
            "full_area": torch.tensor(float(np.count_nonzero(truth))),
        }

    def _draw(self, rng: np.random.Generator, empty_will_do: bool) -> tuple[npt.NDArray[np.uint8], Masks]:
        """An augmented picture and the masks of its objects that are large enough."""
        for _ in range(_TRIES):
            source = self.bank.draw(rng)
            image, labels = self._augment(source.image, source.labels, rng)
            areas = np.bincount(labels.ravel())
            areas[0] = 0
            masks = [labels == label for label in np.flatnonzero(areas >= _MIN_AREA[self.rule])]
            if masks or empty_will_do:
                return image, masks
        raise InputError(
            f"{_TRIES} pictures in a row held no object of {_MIN_AREA[self.rule]} pixels; give a larger size "
            "in the recipe's [samples], or other data."
        )

    def _extra(self, rng: np.random.Generator) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        image, masks = self._draw(rng, empty_will_do=False)
        return image, masks[int(rng.integers(len(masks)))]
