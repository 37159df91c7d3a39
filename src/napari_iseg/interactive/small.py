"""Small objects, from the fourth click on: a network at the image's own resolution finishes them.

By then the click network has found the object, and what is wrong is its outline, by a pixel here and there:
in a nucleus of twelve pixels enough to matter. See `napari_iseg.nn.small_net`. The click network's last
answer stays with the state (``State.begun``) as long as this network answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from napari_iseg.interactive.passes import run_pass
from napari_iseg.interactive.state import State
from napari_iseg.interactive.zoom import WindowRule
from napari_iseg.prompts import Click, Window

if TYPE_CHECKING:
    from torch import Tensor

    from napari_iseg.backends.model import Model
    from napari_iseg.backends.small_model import SmallModel
    from napari_iseg.interactive.refine import OnePass

FIRST_CLICKS = 3  # clicks that are the click network's
MOST = 56  # pixels: side of the click network's window up to which an object is small


class SmallPass:
    """One pass that asks the network for small objects where there is one, else the click network.

    Parameters
    ----------
    load : gives the model for small objects
    ask : one pass of the click network
    """

    def __init__(self, load: Callable[[], SmallModel], ask: OnePass = run_pass) -> None:
        self._load = load
        self._ask = ask

    def __call__(self, model: Model, rule: WindowRule, image: Tensor, state: State) -> State:
        """The state after one pass.

        Parameters
        ----------
        image : (3, rows, cols) float32 in [0, 1], the area grid of ``state``
        """
        window = small_window(rule, state, model.inference.threshold)
        if window is None:
            return replace(self._ask(model, rule, image, state), begun=None)
        small = self._load()
        tile = Tile.around(window, small.tile)
        if not tile.holds(state.grid_clicks[-1]):
            return replace(self._ask(model, rule, image, state), begun=None)
        begun = state.probability if state.begun is None else state.begun
        found = small.probability(
            torch.from_numpy(tile.cut(image.numpy(), "edge")),
            tile.cut(begun, "constant"),
            tile.cut(state.probability, "constant"),
            tile.own(state.grid_clicks),
        )
        pasted = tile.pasted(found, state.probability)
        return replace(state, probability=pasted, zoom=window, begun=begun)


def small_window(rule: WindowRule, state: State, threshold: float) -> Window | None:
    """The click network's window for a small object that it has found; None for anything else."""
    known = state.zoom is not None and not state.thin and state.box is None
    if not known or len(state.grid_clicks) <= FIRST_CLICKS or not (state.probability > threshold).any():
        return None
    window = rule.windows(state)[0]
    return window if max(window.shape) <= MOST else None


class Tile(NamedTuple):
    """A square of ``side`` pixels whose first is (``top``, ``left``); it may reach beyond the image."""

    top: int
    left: int
    side: int

    @classmethod
    def around(cls, window: Window, side: int) -> Tile:
        """The tile with a window in its middle."""
        row, col = (window.top + window.bottom) // 2, (window.left + window.right) // 2
        return cls(row - side // 2, col - side // 2, side)

    def cut(self, array: npt.NDArray[Any], mode: Any) -> npt.NDArray[Any]:
        """(..., side, side) of (..., rows, cols); beyond it by ``mode`` of `numpy.pad`."""
        spans = [
            (max(0, start), min(extent, start + self.side))
            for start, extent in zip((self.top, self.left), array.shape[-2:], strict=True)
        ]
        inside = array[..., spans[0][0] : spans[0][1], spans[1][0] : spans[1][1]]
        pads = [
            (low - start, start + self.side - high)
            for start, (low, high) in zip((self.top, self.left), spans, strict=True)
        ]
        return np.pad(inside, [(0, 0)] * (array.ndim - 2) + pads, mode=mode)

    def pasted(self, tile: npt.NDArray[Any], array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A copy of an array (rows, cols) with the tile in its place, as far as it lies inside."""
        result = array.copy()
        rows, cols = array.shape
        top, left = max(0, self.top), max(0, self.left)
        bottom, right = min(rows, self.top + self.side), min(cols, self.left + self.side)
        result[top:bottom, left:right] = tile[
            top - self.top : bottom - self.top, left - self.left : right - self.left
        ]
        return result

    def holds(self, click: Click) -> bool:
        """Whether a click's pixel lies in the tile."""
        row, col = round(click.row) - self.top, round(click.col) - self.left
        return 0 <= row < self.side and 0 <= col < self.side

    def own(self, clicks: tuple[Click, ...]) -> list[Click]:
        """The clicks that lie in the tile, in its pixels."""
        return [
            Click(max(0.0, click.row - self.top), max(0.0, click.col - self.left), click.positive)
            for click in clicks
            if self.holds(click)
        ]
