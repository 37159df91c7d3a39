"""Windows become the network's input and come back; with the exact grid clicks stay on what was clicked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_iseg.errors import InputError
from napari_iseg.interactive.window_grid import ExactGrid, PublishedGrid, WindowGrid, window_grid
from napari_iseg.prompts import Click, Window

SIZE = (128, 128)


def _seen(grid: WindowGrid, window: Window, row: int, col: int) -> tuple[float, float]:
    """Where a single bright pixel of the picture lies in the network's input: its centre of mass."""
    picture = torch.zeros(1, 1, 60, 60)
    picture[..., row, col] = 1
    rows, cols = window.slices
    seen = grid.resized(picture[..., rows, cols], SIZE)[0, 0].double().numpy()
    places = np.indices(seen.shape)
    return tuple(float((axis * seen).sum() / seen.sum()) for axis in places)


@pytest.mark.parametrize(("row", "col"), [(21, 24), (30, 30), (40, 36)])
def test_exact_grid_puts_clicks_on_the_pixel_that_was_clicked(row: int, col: int) -> None:
    window = Window(18, 20, 42, 44)
    placed = ExactGrid().click(Click(row, col, True), window, SIZE)
    assert (placed.row, placed.col) == pytest.approx(_seen(ExactGrid(), window, row, col), abs=0.02)


def test_published_grid_does_not_and_is_kept_as_published() -> None:
    window = Window(18, 20, 42, 44)
    placed = PublishedGrid().click(Click(40, 36, True), window, SIZE)
    assert (placed.row, placed.col) == pytest.approx((128 * 22 / 24, 128 * 16 / 24))
    assert abs(placed.row - _seen(PublishedGrid(), window, 40, 36)[0]) > 3  # over half a pixel of the picture


def test_exact_grid_comes_back_unmoved() -> None:
    soft = torch.rand(1, 1, 6, 6)
    picture = torch.nn.functional.interpolate(soft, (24, 24), mode="bilinear")
    grid = ExactGrid()
    back = grid.resized(grid.resized(picture, SIZE), (24, 24))
    shifts = {d: float((back - picture.roll(d, 3))[..., 4:-4].abs().mean()) for d in (-1, 0, 1)}
    assert min(shifts, key=lambda d: shifts[d]) == 0
    assert shifts[0] < 0.02


def test_names() -> None:
    assert isinstance(window_grid("exact"), ExactGrid)
    with pytest.raises(InputError, match="'published' or 'exact'"):
        window_grid("corners")
