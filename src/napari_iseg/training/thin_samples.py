"""Training samples of the network for thin structures: a window and everything of one class in it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_iseg.errors import InputError
from napari_iseg.training.bank import picture
from napari_iseg.training.checks import options_of
from napari_iseg.training.episode_bank import EpisodeBank, Series
from napari_iseg.training.indexed import IndexedSamples
from napari_iseg.training.photometric import vary
from napari_iseg.training.recipe import Recipe, SceneRecipe
from napari_iseg.training.synthetic import random_scene
from napari_iseg.training.synthetic_thin import OUTLINES

_TRIES = 60
_LEAST, _MOST = 12, 0.9  # pixels, and share of the window, that the class has in it


@dataclass(frozen=True)
class ThinSampleOptions:
    """How samples are drawn.

    Parameters
    ----------
    size : side of the square window after resizing, a multiple of 16 pixels
    nearest, farthest : sides of the window cut from the picture, in units of ``size``; drawn evenly in the
        logarithm
    vary : factor on how often each intensity augmentation is applied, 0 to 1
    anywhere : share of first clicks at any pixel of the class instead of deep inside it
    """

    size: int = 192
    nearest: float = 0.5
    farthest: float = 1.7
    vary: float = 0.8
    anywhere: float = 0.4


def sample_options(recipe: Recipe) -> ThinSampleOptions:
    """[samples] of a recipe; InputError for an option that does not exist or cannot be."""
    options = options_of(ThinSampleOptions, recipe.samples, "thin structures")
    if options.size < 32 or options.size % 16 or not 0.1 <= options.nearest <= options.farthest:
        raise InputError(
            "Samples of thin structures need a size that is a multiple of 16, 32 at least, and nearest from "
            f"0.1 to farthest, got {options.size}, {options.nearest} and {options.farthest}."
        )
    return options


class ThinBank(EpisodeBank):
    """An episode bank whose made scenes are of thin shapes, each shape a class of its own."""

    def add_scenes(self, scenes: SceneRecipe, seed: int, per_series: int = 4) -> None:
        """``scenes.count`` pictures as one series."""
        del per_series
        made = []
        for index in range(scenes.count):
            image, labels = random_scene(np.random.default_rng((seed, 3, index)), scenes.size, OUTLINES)
            kept = picture(image, labels, min_area=60)
            if kept is not None:
                made.append((None, kept, True))
        self._add("made thin scenes", made, scenes.weight)


class ThinSamples(IndexedSamples[EpisodeBank]):
    """An endless set of samples, by index.

    Each item holds ``image`` (3, S, S) float32 in [0, 1], ``truth`` (1, S, S) float32 and ``click`` (2,)
    float32, the (row, col) of the first click.
    """

    def __init__(self, bank: EpisodeBank, options: ThinSampleOptions, seed: int, length: int) -> None:
        super().__init__(bank, seed, length)
        self.options = options

    def draw(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """See the class."""
        del index
        for _ in range(_TRIES):
            made = self._window(self.bank.draw_series(rng), rng)
            if made is not None:
                return made
        raise InputError(f"{_TRIES} windows in a row held no class; check the training labels.")

    def _window(self, series: Series, rng: np.random.Generator) -> dict[str, Tensor] | None:
        options = self.options
        index = int(rng.integers(len(series.pictures)))
        source, classes = series.pictures[index], series.classes_of(index)
        if not classes:
            return None
        mask = series.mask(index, int(rng.choice(classes)))
        rows, cols = np.nonzero(mask)
        wanted = options.size * np.exp(rng.uniform(np.log(options.nearest), np.log(options.farthest)))
        side = max(8, int(min(wanted, *mask.shape)))
        pick = int(rng.integers(len(rows)))
        top, left = (
            int(np.clip(at - rng.integers(side), 0, extent - side))
            for at, extent in zip((rows[pick], cols[pick]), mask.shape, strict=True)
        )
        view = np.s_[top : top + side, left : left + side]
        # Labels are averaged where the window is reduced, as the image is.
        how = cv2.INTER_AREA if side > options.size else cv2.INTER_LINEAR
        size = (options.size, options.size)
        image = cv2.resize(source.image[view], size, interpolation=how)
        truth = cv2.resize(mask[view].astype(np.float32), size, interpolation=how) > 0.5
        if not _LEAST <= np.count_nonzero(truth) <= _MOST * truth.size:
            return None
        return self._finished(np.asarray(image, np.uint8), truth, rng)

    def _finished(
        self, image: npt.NDArray[np.uint8], truth: npt.NDArray[np.bool_], rng: np.random.Generator
    ) -> dict[str, Tensor]:
        """The sample of a window: turned, mirrored, varied, with its first click."""
        turns, mirror = int(rng.integers(4)), rng.random() < 0.5
        image, truth = np.rot90(image, turns), np.rot90(truth, turns)
        if mirror:
            image, truth = image[:, ::-1], truth[:, ::-1]
        image, truth = np.ascontiguousarray(image), np.ascontiguousarray(truth)
        depth = cv2.distanceTransform(np.pad(truth.view(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
        limit = 0.0 if rng.random() < self.options.anywhere else float(depth.max()) / 2
        inside = np.argwhere(depth > limit)
        return {
            "image": torch.from_numpy(vary(image, rng, self.options.vary)).permute(2, 0, 1).contiguous(),
            "truth": torch.from_numpy(truth.astype(np.float32))[None],
            "click": torch.from_numpy(inside[int(rng.integers(len(inside)))].astype(np.float32)),
        }
