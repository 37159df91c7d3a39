"""The levels of a multiscale image name their axes as a single array does (xarray)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from napari_iseg.errors import InputError
from napari_iseg.images import PlaneSource
from napari_iseg.prompts import Window


class Named:
    """As much of an xarray.DataArray as is asked for."""

    def __init__(self, data: npt.NDArray[np.uint8], dims: str) -> None:
        self.data, self.dims = data, tuple(dims)
        self.shape, self.dtype = data.shape, data.dtype


def image(dims: str, half: int = 1) -> Named:
    sizes = {"c": 5, "z": 4, "y": 24 // half, "x": 16 // half}
    shape = [sizes[name.lower()] for name in dims]
    return Named(np.random.default_rng(0).integers(0, 256, shape, np.uint8), dims)


@pytest.mark.parametrize("dims", ["cyx", "xy", "yxc", "zyx", "xyz", "YX"])
def test_levels_are_read_as_the_finest_alone(dims: str) -> None:
    alone, levels = (PlaneSource.wrap(given) for given in (image(dims), [image(dims), image(dims, 2)]))
    assert (levels.shape, levels.leading_shape) == (alone.shape, alone.leading_shape)
    assert alone.shape == (24, 16)
    window, plane = Window(0, 0, 24, 16), (0,) * len(alone.leading_shape)
    np.testing.assert_array_equal(levels.read(window, plane), alone.read(window, plane))


@pytest.mark.parametrize("named", [0, 1])
def test_one_level_that_names_its_axes_will_do(named: int) -> None:
    levels: list[Any] = [image("xy"), image("xy", 2)]
    levels[1 - named] = levels[1 - named].data
    assert PlaneSource.wrap(levels).shape == (24, 16)


def test_levels_with_other_names_are_refused() -> None:
    other = Named(image("yx", 2).data, "xy")
    with pytest.raises(InputError, match=r"name their axes alike, got \(x, y\) and \(y, x\)"):
        PlaneSource.wrap([image("yx"), other])


def test_axes_that_are_given_leave_the_names_out() -> None:
    """As in a viewer, which shows arrays by the order of their axes."""
    for options in ({"channel_axis": 0}, {"rgb": False}, {"plane_axes": (1, 2)}):
        assert PlaneSource.wrap(image("cxy"), **options).shape == (16, 24)
