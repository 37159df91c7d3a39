"""Clicks for training: the published random sampler and the published click between two forward passes.

Both are RITM's, as used by SimpleClick and CFR-ICL. Clicks are rows (row, col, order): the first half of an
array positive, the second half negative, unused rows -1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

BoolMask = npt.NDArray[np.bool_]
Draw = Callable[[int], int]  # draw(n) gives a whole number in 0..n-1
_SQUARE = np.ones((3, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class ClickSampler:
    """The published settings; ``max_clicks`` per sign is 24 for ViT-B and 12 for ViT-H."""

    max_clicks: int = 24
    gamma: float = 0.8
    merge_probability: float = 0.15
    max_merged: int = 2
    erode_probability: float = 0.9
    erode_steps: int = 3
    min_eroded: int = 10
    border_width: float = 0.1
    sources: tuple[float, float, float] = (
        0.1,
        0.4,
        0.5,
    )  # of a negative click: background, other objects, border

    def choose_objects(self, count: int, rng: np.random.Generator) -> list[int]:
        """Which of ``count`` objects of a sample become the target: one, or now and then a union."""
        if count < 2 or rng.random() >= self.merge_probability:
            return [int(rng.integers(count))]
        return [int(i) for i in rng.permutation(count)[: self.max_merged]]

    def sample(
        self, objects: Sequence[BoolMask], others: BoolMask | None, rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        """Random first clicks.

        Parameters
        ----------
        objects : masks (H, W) whose union is the target; may be empty for a sample without an object
        others : (H, W) the sample's other objects, or None; takes part in negative clicks only
        rng : source of randomness

        Returns
        -------
        (2 * max_clicks, 3) float32
        """
        target = np.logical_or.reduce(list(objects)) if objects else None
        positive = self._positive(objects, rng) if target is not None and target.any() else []
        shape_of = target if target is not None else others
        negative = [] if shape_of is None else self._negative(target, others, shape_of.shape, rng)
        clicks = np.full((2 * self.max_clicks, 3), -1, np.float32)
        orders = rng.permutation(len(positive) + len(negative)) + 2  # the published orders start at 2
        for start, points in ((0, positive), (self.max_clicks, negative)):
            for i, (row, col) in enumerate(points):
                clicks[start + i] = row, col, orders[i + (len(positive) if start else 0)]
        return clicks

    def number(self, most: int, rng: np.random.Generator) -> int:
        """A count from 0 to ``most`` with weights ``gamma ** count``."""
        weights = self.gamma ** np.arange(most + 1)
        return int(rng.choice(most + 1, p=weights / weights.sum()))

    def _positive(self, objects: Sequence[BoolMask], rng: np.random.Generator) -> list[tuple[int, int]]:
        masks = [self._eroded(mask, rng) for mask in objects if mask.any()]
        if len(masks) == 1:
            return _positions(masks[0], 1 + self.number(self.max_clicks - 1, rng), rng)
        points = [point for mask in masks[: self.max_clicks] for point in _positions(mask, 1, rng)]
        for _ in range(min(self.number(self.max_clicks, rng), self.max_clicks - len(points))):
            points += _positions(masks[int(rng.integers(len(masks)))], 1, rng)
        return points

    def _negative(
        self,
        target: BoolMask | None,
        others: BoolMask | None,
        shape: tuple[int, ...],
        rng: np.random.Generator,
    ) -> list[tuple[int, int]]:
        count = self.number(self.max_clicks, rng)
        if not count:
            return []
        inside = np.zeros(shape, np.bool_) if target is None else target
        drawn = np.bincount(rng.choice(3, count, p=self.sources), minlength=3)
        background = ~inside
        other = others & background if others is not None and others.any() else background
        border = self._border(inside) if drawn[2] and inside.any() else background
        points: list[tuple[int, int]] = []
        for source, number in zip((background, other, border), drawn, strict=True):
            points += _positions(source, int(number), rng)
        return points

    def _eroded(self, mask: BoolMask, rng: np.random.Generator) -> BoolMask:
        if rng.random() >= self.erode_probability:
            return mask
        eroded = cv2.erode(mask.view(np.uint8), _SQUARE, iterations=self.erode_steps).view(np.bool_)
        return eroded if np.count_nonzero(eroded) > self.min_eroded else mask

    def _border(self, mask: BoolMask) -> BoolMask:
        steps = int(np.ceil(self.border_width * np.sqrt(np.count_nonzero(mask))))
        return cv2.dilate(mask.view(np.uint8), _SQUARE, iterations=steps).view(np.bool_) & ~mask


def _positions(mask: BoolMask, count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """``count`` uniform positions in ``mask``, with repetition; none when the mask is empty."""
    flat = np.flatnonzero(mask) if count else mask[:0]
    if not len(flat):
        return []
    rows, cols = np.divmod(flat[rng.integers(len(flat), size=count)], mask.shape[1])
    return [(int(r), int(c)) for r, c in zip(rows, cols, strict=True)]


def click_candidates(
    probability: npt.NDArray[np.floating], truth: npt.NDArray[Any], threshold: float = 0.49
) -> tuple[npt.NDArray[np.intp], bool]:
    """Flat indices of where the training click may go, deeper than half the deepest error, and its sign.

    Distances are OpenCV's 5x5 chamfer approximation, as published. ``probability`` and ``truth`` are (H, W).
    """
    target = np.asarray(truth > 0.5)
    depths = [_chamfer(target & (probability < threshold)), _chamfer(~target & (probability > threshold))]
    deepest = [depth.max() for depth in depths]
    positive = bool(deepest[0] > deepest[1])
    depth = depths[0] if positive else depths[1]
    return np.flatnonzero(depth > max(deepest) / 2), positive


def _chamfer(region: BoolMask) -> npt.NDArray[np.float32]:
    if not region.any():
        return np.zeros(region.shape, np.float32)
    padded = np.zeros((region.shape[0] + 2, region.shape[1] + 2), np.uint8)
    padded[1:-1, 1:-1] = region
    return cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1].astype(np.float32, copy=False)


def add_click(clicks: npt.NDArray[np.float32], row: int, col: int, positive: bool) -> None:
    """Write one click into ``clicks`` (2N, 3), in place: first free row of its sign, else the last one."""
    half = len(clicks) // 2
    part = clicks[:half] if positive else clicks[half:]
    free = np.flatnonzero(part.max(1) < 0)
    part[free[0] if len(free) else half - 1] = row, col, max(clicks[:, 2].max(), 0) + 1


def iterative_clicks(
    probability: Tensor, truth: Tensor, clicks: Tensor, draw: Draw, threshold: float = 0.49
) -> Tensor:
    """One more click per sample, placed on its largest error.

    Parameters
    ----------
    probability, truth : (B, 1, H, W)
    clicks : (B, 2N, 3) float32; not changed
    draw : ``draw(n)`` gives a whole number in 0..n-1, for example ``rng.integers``

    Returns
    -------
    (B, 2N, 3) on the device of ``clicks``
    """
    updated = clicks.detach().cpu().numpy().copy()
    maps = probability.detach().float().cpu().numpy()[:, 0]
    targets = truth.detach().cpu().numpy()[:, 0]
    for sample, (prediction, target) in enumerate(zip(maps, targets, strict=True)):
        candidates, positive = click_candidates(prediction, target, threshold)
        if len(candidates):
            row, col = divmod(int(candidates[draw(len(candidates))]), prediction.shape[1])
            add_click(updated[sample], row, col, positive)
    return torch.from_numpy(updated).to(clicks.device)
