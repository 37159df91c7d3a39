"""Training samples of IS5Net: a window with one object, its truth, a coarse mask and a box."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_iseg.backends.edge_contrast import contrasted
from napari_iseg.backends.edge_input import box_of_mask
from napari_iseg.errors import InputError
from napari_iseg.evaluation.coarse import WORST_IOU, degraded
from napari_iseg.evaluation.dis_metrics import mask_iou
from napari_iseg.training.bank import Bank, Cut, Picture, cut, draw_cut, point_inside
from napari_iseg.training.checks import options_of
from napari_iseg.training.enrichment import enriched
from napari_iseg.training.first_stage import FirstStage
from napari_iseg.training.indexed import IndexedSamples
from napari_iseg.training.photometric import vary
from napari_iseg.training.recipe import Recipe

_TRIES = 20
_LEAST = 24  # pixels of an object in a window
_TILE_LEAST, _TILE_MOST = 0.5, 1.4  # side of such a window, in windows


@dataclass(frozen=True)
class EdgeSampleOptions:
    """How samples are drawn.

    Parameters
    ----------
    size : side of the square window after resizing, a multiple of 32 pixels (published: 1024)
    whole : share of samples that are whole pictures, resized and flipped and nothing else (published: 1)
    close : share of windows that hold the whole object; the others cut it, as tiles do
    tiles : of objects larger than ``size``, share of windows at about the picture's own scale, as the tiles
        are in which large objects are refined
    vary : factor on how often each intensity augmentation is applied, 0 to 1 (published: 0)
    strength : factor on how coarse the degraded truths are
    preparation : "data-set", or "contrast" for a network that will be asked with that
    enrich : GT enrichment: parts of a mask become targets of their own
    drop_mask, drop_box : share of samples without the mask, and without the box (never both)
    first_stage : a click or box model that makes coarse masks, as a SAM does in the published training; ""
        for none, then all are degraded truths
    first_share : share of samples whose coarse mask is that model's, where it found the object at all
    box_of_truth : the box is drawn around the truth, as published, and not around the coarse mask
    """

    size: int = 256
    whole: float = 0.0
    close: float = 0.8
    tiles: float = 0.0
    vary: float = 0.5
    strength: float = 1.0
    preparation: str = "data-set"
    enrich: bool = True
    drop_mask: float = 0.1
    drop_box: float = 0.1
    first_stage: str = ""
    first_share: float = 0.5
    box_of_truth: bool = False


def sample_options(recipe: Recipe) -> EdgeSampleOptions:
    """[samples] of a recipe; InputError for an option that does not exist or cannot be."""
    options = options_of(EdgeSampleOptions, recipe.samples, "IS5Net")
    if options.size < 32 or options.size % 32:
        raise InputError(f"IS5Net's samples need a size that is a multiple of 32, got {options.size}.")
    if options.preparation not in ("data-set", "contrast"):
        raise InputError(
            f"preparation in the recipe's [samples] is 'data-set' or 'contrast', got {options.preparation!r}."
        )
    if options.drop_mask + options.drop_box > 1:
        raise InputError("drop_mask and drop_box of the recipe's [samples] may be 1 together, not more.")
    return options


class EdgeSamples(IndexedSamples[Bank]):
    """An endless set of samples, by index.

    Each item holds ``image`` (3, S, S), ``mask``, ``box`` and ``truth`` (1, S, S), float32 in [0, 1].
    """

    def __init__(self, bank: Bank, options: EdgeSampleOptions, seed: int, length: int) -> None:
        super().__init__(bank, seed, length)
        self.options = options
        self.first = FirstStage(options.first_stage) if options.first_stage else None

    def draw(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """See the class."""
        del index
        for _ in range(_TRIES):
            made = draw_sample(self.bank.draw(rng), self.options, rng, self.first)
            if made is not None:
                return made
        raise InputError("Twenty windows in a row held no object; check the training labels.")


def draw_sample(
    source: Picture,
    options: EdgeSampleOptions,
    rng: np.random.Generator,
    first: FirstStage | None = None,
) -> dict[str, Tensor] | None:
    """One sample from a picture, see `EdgeSamples`; None where the window holds no object."""
    made = _window(source, options, rng)
    truth = made.labels == made.target
    if options.enrich and np.count_nonzero(truth):
        parts = enriched(truth)
        truth = parts[int(rng.integers(len(parts)))] if parts else truth
    if np.count_nonzero(truth) < _LEAST:
        return None
    mask = degraded(truth, rng, options.strength)
    if first is not None and rng.random() < options.first_share:
        found = first.mask(made.image, truth, rng)
        mask = found if mask_iou(found, truth) >= WORST_IOU else mask
    around = truth if options.box_of_truth else mask
    box = box_of_mask(around.astype(np.float32) * 255) / 255
    drop = rng.random()
    if drop < options.drop_mask:
        mask = np.zeros_like(mask)
    elif drop < options.drop_mask + options.drop_box:
        box = np.zeros_like(box)
    image = vary(made.image, rng, options.vary)
    if options.preparation == "contrast":
        image = contrasted(image, mask.astype(np.float32))
    return {
        "image": torch.from_numpy(image).permute(2, 0, 1).contiguous(),
        "mask": _channel(mask),
        "box": _channel(box),
        "truth": _channel(truth),
    }


def _window(source: Picture, options: EdgeSampleOptions, rng: np.random.Generator) -> Cut:
    if options.whole and rng.random() < options.whole:
        return _whole(source, options.size, rng)
    if options.tiles and rng.random() < options.tiles:
        target = source.objects[rng.integers(len(source.objects))]
        if max(target[4] - target[2], target[5] - target[3]) > options.size:
            row, col = point_inside(source, target, rng)
            side = options.size * float(np.exp(rng.uniform(np.log(_TILE_LEAST), np.log(_TILE_MOST))))
            shift = rng.uniform(-0.4, 0.4, 2) * side
            centre = row + float(shift[0]), col + float(shift[1])
            return cut(source, target, centre, side, options.size, rng)
    return draw_cut(source, options.size, rng, rng.random() < options.close)


def _whole(source: Picture, size: int, rng: np.random.Generator) -> Cut:
    """The picture in a square, without keeping its aspect; no, a horizontal, a vertical or a double flip."""
    target = source.objects[rng.integers(len(source.objects))]
    image = cv2.resize(source.image, (size, size), interpolation=cv2.INTER_LINEAR)  # not antialiased
    plain = source.labels.astype(np.float32)
    labels = cv2.resize(plain, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)
    flips = tuple(slice(None, None, -1 if rng.random() < 0.5 else 1) for _ in range(2))
    return Cut(
        np.ascontiguousarray(image[flips], np.uint8),
        np.ascontiguousarray(labels[flips], np.int32),
        int(target[0]),
        float(target[1]) * size**2 / source.labels.size,
    )


def _channel(values: npt.NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))[None]
