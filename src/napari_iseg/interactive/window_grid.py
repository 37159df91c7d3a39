"""How a window becomes the network's input and back: as published, or so that clicks stay in place."""

from __future__ import annotations

from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from napari_iseg.errors import InputError
from napari_iseg.prompts import Click, Window


class WindowGrid(Protocol):
    """Resizing of windows, and where a click on the picture lies in the resized window."""

    def resized(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, C, h, w) to (B, C, *size)."""
        ...

    def click(self, click: Click, window: Window, size: tuple[int, int]) -> Click:
        """A grid click in pixels of the window resized to ``size`` (rows, cols)."""
        ...


class PublishedGrid:
    """As published (section 3 of the inference): corner pixels stay corners, clicks scale with the sides.

    The two disagree: in a window of 24 pixels shown at 128 a click lands up to a pixel of the picture from
    where it was made. At the published sizes, 200 pixels and more shown at 448, that is not seen.
    """

    def resized(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Bilinear, with aligned corners."""
        return F.interpolate(x, size=size, mode="bilinear", align_corners=True)

    def click(self, click: Click, window: Window, size: tuple[int, int]) -> Click:
        """Times the ratio of the sides."""
        return Click(
            size[0] * (click.row - window.top) / window.height,
            size[1] * (click.col - window.left) / window.width,
            click.positive,
        )


class ExactGrid:
    """Ours: pixels are areas, the window's edges stay its edges, and clicks stay on what was clicked."""

    def resized(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Bilinear; averaged where it gets smaller."""
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=True)

    def click(self, click: Click, window: Window, size: tuple[int, int]) -> Click:
        """By the middle of the pixel."""
        return Click(
            size[0] * (click.row - window.top + 0.5) / window.height - 0.5,
            size[1] * (click.col - window.left + 0.5) / window.width - 0.5,
            click.positive,
        )


def window_grid(name: str) -> WindowGrid:
    """The grid of `Inference.grid`; raises InputError for an unknown one."""
    if name == "published":
        return PublishedGrid()
    if name == "exact":
        return ExactGrid()
    raise InputError(f"Unknown window grid {name!r}; use 'published' or 'exact'.")
