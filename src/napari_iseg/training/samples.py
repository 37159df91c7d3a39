"""Training samples: a window with one target object, its first clicks, and what augmentation made of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt
import torch
from skimage.segmentation import felzenszwalb
from torch import Tensor

from napari_iseg.errors import InputError
from napari_iseg.training.bank import Bank, Cut, draw_cut
from napari_iseg.training.clicks import ClickSampler
from napari_iseg.training.indexed import IndexedSamples
from napari_iseg.training.photometric import vary
from napari_iseg.training.suem import suem

_COARSE = (np.log(6), np.log(18))  # pixels across, drawn evenly in the logarithm


@dataclass(frozen=True)
class SampleOptions:
    """How samples are drawn.

    Parameters
    ----------
    size : side of the square window after resizing, pixels
    late_size : the same while the learning rate falls; None keeps ``size``. Small windows first are cheap.
    close : share of windows that lie around the object instead of around the first click
    superpixels : share of samples whose object is a superpixel or a union of neighbouring ones
    coarse : share of samples from a coarser image, in which the object is 6 to 18 pixels across
    crowds : a set's pictures are drawn by this power of their number of objects, see `Bank.draw`
    least : an object takes so much of the side of a window around the first click at least
    suem : probability that a sample goes through the published SUEM stages
    vary : factor on how often each intensity augmentation is applied, at most 1
    centred : share of first clicks near the middle of the object, where people and the evaluation click
    """

    size: int = 160
    late_size: int | None = None
    close: float = 0.55
    superpixels: float = 0.06
    coarse: float = 0.0
    crowds: float = 0.0
    least: float = 0.12
    suem: float = 0.25
    vary: float = 1.0
    centred: float = 0.6
    clicks: ClickSampler = field(default_factory=lambda: ClickSampler(max_clicks=12))


class Samples(IndexedSamples[Bank]):
    """An endless set of samples, by index.

    Each item holds ``image`` (3, S, S) float32 in [0, 1], ``truth`` (1, S, S) float32, ``clicks`` (2N, 3)
    float32 and ``full_area`` () float32: the area of the whole object in pixels of the window, also where
    the window cuts it.
    """

    def __init__(
        self, bank: Bank, options: SampleOptions, seed: int, length: int, late_from: int | None = None
    ) -> None:
        super().__init__(bank, seed, length)
        self.options = options
        self.late_from = length if late_from is None else late_from

    def draw(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """See the class."""
        late = index >= self.late_from and self.options.late_size is not None
        size = (self.options.late_size if late else None) or self.options.size
        for _ in range(20):
            close = rng.random() < self.options.close
            made = self._cut(size, rng, close)
            masks = made.labels == made.target
            if np.count_nonzero(masks) >= 12:
                return self._finish(made, close, rng)
        raise InputError("Twenty windows in a row held no object; check the labels, and size in [samples].")

    def _cut(self, size: int, rng: np.random.Generator, close: bool) -> Cut:
        coarse = self.options.coarse
        # No draw where there is none, so that recipes without it keep their samples.
        extent = float(np.exp(rng.uniform(*_COARSE))) if coarse and rng.random() < coarse else None
        source = self.bank.draw(rng, self.options.crowds)
        made = draw_cut(source, size, rng, close, extent, self.options.least)
        return _superpixel(made, rng) if rng.random() < self.options.superpixels else made

    def _finish(self, made: Cut, close: bool, rng: np.random.Generator) -> dict[str, Tensor]:
        image, target = made.image, made.labels == made.target
        full_area = made.full_area
        others: npt.NDArray[np.bool_] | None = (made.labels > 0) & ~target
        if rng.random() < self.options.suem:
            image, target = suem(image, target, lambda: self._extra(len(target), rng), rng)
            full_area, others = float(np.count_nonzero(target)), None
        clicks = self._clicks(target, others, close, rng)
        return {
            "image": torch.from_numpy(vary(image, rng, self.options.vary)).permute(2, 0, 1).contiguous(),
            "truth": torch.from_numpy(target.astype(np.float32))[None],
            "clicks": torch.from_numpy(clicks),
            "full_area": torch.tensor(max(full_area, np.count_nonzero(target)), dtype=torch.float32),
        }

    def _extra(
        self, size: int, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Another picture's window with one object, for SUEM."""
        made = draw_cut(self.bank.draw(rng), size, rng, rng.random() < 0.5)
        return made.image, made.labels == made.target

    def _clicks(
        self,
        target: npt.NDArray[np.bool_],
        others: npt.NDArray[np.bool_] | None,
        close: bool,
        rng: np.random.Generator,
    ) -> npt.NDArray[np.float32]:
        sampler = self.options.clicks
        if close and rng.random() < 0.6:
            return sampler.sample([target], others, rng)
        clicks = np.full((2 * sampler.max_clicks, 3), -1, np.float32)
        clicks[0] = *_first_click(target, close, rng.random() < self.options.centred, rng), 0
        return clicks


def _first_click(
    target: npt.NDArray[np.bool_], close: bool, centred: bool, rng: np.random.Generator
) -> tuple[float, float]:
    """Deep inside the object or anywhere in it; in a window around the click, near the window's middle."""
    depth = cv2.distanceTransform(np.pad(target.view(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    size = len(target)
    if not close:
        axis = np.abs(np.arange(size) - (size - 1) / 2)
        near = np.maximum(axis[:, None], axis[None])
        depth = depth * (near < max(near[target].min() + 1, size * 0.1))
    limit = depth.max() * (rng.uniform(0.6, 0.99) if centred else 0.0)
    rows, cols = np.nonzero(depth > limit)
    if not len(rows):
        rows, cols = np.nonzero(target)
    pick = rng.integers(len(rows))
    return float(rows[pick]), float(cols[pick])


def _superpixel(made: Cut, rng: np.random.Generator) -> Cut:
    """Replace the labels by superpixels of the same window (unions of neighbours at random scale)."""
    segments = felzenszwalb(made.image, scale=float(np.exp(rng.uniform(4.5, 7))), sigma=0.8, min_size=80)
    areas = np.bincount(segments.ravel())
    middle = segments[made.labels.shape[0] // 2, made.labels.shape[1] // 2]
    large = np.flatnonzero((areas > 120) & (areas < 0.6 * segments.size))
    target = int(middle if areas[middle] > 120 or not len(large) else rng.choice(large))
    labels = segments.astype(np.int32) + 1
    return Cut(made.image, labels, target + 1, float(areas[target]))
