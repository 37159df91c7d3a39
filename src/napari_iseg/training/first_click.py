"""Learning to choose among the squares of a first click: samples with all of them, and the loss.

A quality head that has seen one window at a time says how good a mask looks, not which of seven masks was
meant: of a crowd, the whole is a fine mask of something. So it is shown whole pictures and first clicks as
the scale search shows them (`interactive.scale_search`), and learns from the choice that it makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_iseg.errors import InputError
from napari_iseg.evaluation.clicks import deepest
from napari_iseg.interactive.scale_search import ScaleSearch
from napari_iseg.interactive.state import State
from napari_iseg.interactive.window_grid import WindowGrid
from napari_iseg.prompts import Click, Window, click_array
from napari_iseg.training.bank import Bank, Picture
from napari_iseg.training.indexed import IndexedSamples
from napari_iseg.training.iteration import expected_iou
from napari_iseg.training.photometric import vary
from napari_iseg.training.recipe import LossRecipe
from napari_iseg.training.task import Terms

WEIGHTS: Final[Mapping[str, float]] = MappingProxyType({"quality": 1.0, "choice": 3.0})
_LEAST_AREA = 25  # pixels; smaller objects are not drawn
_LEAST_SIDE, _MOST_SIDE = 48, 1100  # pixels of a scaled picture
_TRIES = 50


@dataclass(frozen=True)
class FirstClickOptions:
    """How first clicks are drawn.

    Parameters
    ----------
    whole : share of pictures taken as they are; of others a square is cut, scaled, turned and varied
    scale : by how much the square is scaled, least and most
    vary : factor on how often each intensity augmentation is applied, at most 1
    centred : share of clicks in the very middle of the object; others lie anywhere deep in it
    crowds : a set's pictures are drawn by this power of their number of objects, see `Bank.draw`
    """

    whole: float = 0.3
    scale: tuple[float, float] = (0.45, 1.8)
    vary: float = 0.6
    centred: float = 0.7
    crowds: float = 0.5


class FirstClickSamples(IndexedSamples[Bank]):
    """First clicks by index, each with the K squares of the scale search.

    Each item holds ``image`` (K, 3, S, S) float32 in [0, 1], ``truth`` (K, 1, S, S) float32, ``clicks``
    (K, 2, 3) float32, ``full_area`` (K,) float32, the area of the whole object in pixels of each square, and
    ``tried`` (K,) bool: squares that are no others again, as where the picture is smaller than they.

    Parameters
    ----------
    rule : whose squares they are
    grid : by which they become the network's input
    size : S
    """

    def __init__(
        self,
        bank: Bank,
        options: FirstClickOptions,
        seed: int,
        length: int,
        *,
        rule: ScaleSearch,
        grid: WindowGrid,
        size: int,
    ) -> None:
        super().__init__(bank, seed, length)
        self.options, self.rule, self.grid, self.size = options, rule, grid, size

    def draw(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """See the class."""
        del index
        for _ in range(_TRIES):
            image, truth = self._scene(self.bank.draw(rng, self.options.crowds), rng)
            if np.count_nonzero(truth) >= _LEAST_AREA:
                return self._seen(image, truth, self._click(truth, rng))
        raise InputError(f"{_TRIES} pictures in a row held no object; check the training labels.")

    def _scene(
        self, source: Picture, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """A picture and one object's mask in it."""
        target = source.objects[rng.integers(len(source.objects))]
        image, truth = source.image, source.labels == target[0]
        if rng.random() < self.options.whole:
            return image, truth
        shortest = min(truth.shape)
        side = int(shortest * (1 if rng.random() < 0.6 else rng.uniform(0.5, 1)))
        middle = (target[2] + target[4]) / 2, (target[3] + target[5]) / 2
        top, left = (
            int(np.clip(at - side * rng.uniform(0.2, 0.8), 0, extent - side))
            for at, extent in zip(middle, truth.shape, strict=True)
        )
        scaled = round(side * float(np.exp(rng.uniform(*np.log(self.options.scale)))))
        scaled = int(np.clip(scaled, _LEAST_SIDE, _MOST_SIDE))
        image, truth = (
            image[top : top + side, left : left + side],
            truth[top : top + side, left : left + side],
        )
        image, truth = _scaled(image, truth, scaled)
        image = (vary(image, rng, self.options.vary) * 255).round().astype(np.uint8)
        turns = int(rng.integers(4))
        return np.ascontiguousarray(np.rot90(image, turns)), np.ascontiguousarray(np.rot90(truth, turns))

    def _click(self, truth: npt.NDArray[np.bool_], rng: np.random.Generator) -> Click:
        """Where the evaluation clicks first, or elsewhere deep inside."""
        depth, (row, col) = deepest(truth)
        if rng.random() >= self.options.centred:
            distance = cv2.distanceTransform(np.pad(truth.view(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
            rows, cols = np.nonzero(distance >= depth * rng.uniform(0.2, 0.9))
            if len(rows):
                pick = int(rng.integers(len(rows)))
                row, col = int(rows[pick]), int(cols[pick])
        return Click(row, col)

    def _seen(
        self, image: npt.NDArray[np.uint8], truth: npt.NDArray[np.bool_], click: Click
    ) -> dict[str, Tensor]:
        """All squares around a click as the network sees them."""
        state = State(Window.of_shape(truth.shape), 1, np.zeros(truth.shape, np.float32), clicks=(click,))
        found = self.rule.search(state)
        windows = [*found, *[found[-1]] * (len(self.rule.sides) - len(found))]
        pixels = torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None]
        mask = torch.from_numpy(truth.astype(np.float32))[None, None]
        shape, area = (self.size, self.size), float(np.count_nonzero(truth))
        images, truths, clicks, areas = [], [], [], []
        for window in windows:
            rows, cols = window.slices
            images.append(self.grid.resized(pixels[..., rows, cols], shape))
            truths.append((self.grid.resized(mask[..., rows, cols], shape) > 0.5).float())
            clicks.append(torch.from_numpy(click_array([self.grid.click(click, window, shape)])))
            areas.append(area * self.size**2 / (window.height * window.width))
        return {
            "image": torch.cat(images),
            "truth": torch.cat(truths),
            "clicks": torch.stack(clicks).float(),
            "full_area": torch.tensor(areas, dtype=torch.float32),
            "tried": torch.arange(len(windows)) < len(found),
        }


def first_click_weights(net: Any, recipe: LossRecipe) -> dict[str, float]:
    """Weights of the terms of `first_click_loss`.

    Raises
    ------
    InputError
        For a network without a quality head, or a term in [loss.terms] that is none of these.
    """
    if not hasattr(net, "trained"):
        raise InputError(
            "Only networks with a quality head can learn to choose among first clicks' squares; take the "
            "variant 'starter' or sampling = 'windows'."
        )
    return recipe.weights(WEIGHTS)


def first_click_loss(net: Any, batch: dict[str, Tensor], recipe: LossRecipe) -> Terms:
    """How well the quality head says the IoU of each square's answer, and how much its choice loses.

    The terms are "quality", the cross-entropy of the IoU, and "choice", the IoU of the best square less the
    IoU expected when a square is drawn by the softmax of the head's logits; ours.

    Raises
    ------
    InputError
        For a network without a quality head.
    """
    weights = first_click_weights(net, recipe)
    several = batch["tried"].shape
    image, truth, clicks, area = (
        batch[name].flatten(0, 1) for name in ("image", "truth", "clicks", "full_area")
    )
    logits, quality = net.trained(image, torch.zeros_like(truth), clicks)
    iou, tried = expected_iou(logits, truth, area).view(several), batch["tried"]
    quality = quality.view(several)
    each = F.binary_cross_entropy_with_logits(quality, iou, reduction="none")
    says = ((each * tried).sum(1) / tried.sum(1)).mean()
    drawn = quality.masked_fill(~tried, -torch.inf).softmax(1)
    choice = (iou.masked_fill(~tried, 0).amax(1) - (drawn * iou).sum(1)).mean()
    total = weights["quality"] * says + weights["choice"] * choice
    return Terms(total, {"quality": float(says.detach()), "choice": float(choice.detach())})


def _scaled(
    image: npt.NDArray[np.uint8], truth: npt.NDArray[np.bool_], side: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    how = cv2.INTER_AREA if side < len(truth) else cv2.INTER_LINEAR
    mask = cv2.resize(truth.view(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST_EXACT)
    return cv2.resize(image, (side, side), interpolation=how).astype(np.uint8), mask > 0
