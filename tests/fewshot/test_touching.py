"""Pulling touching objects apart: objects of every shape, and depths that mean nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_iseg.errors import InputError
from napari_iseg.fewshot.components import separate_objects
from napari_iseg.fewshot.touching import parts_of
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Window


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 1), (1, 5), (7, 1, 1), (3, 4, 5)])
def test_an_object_without_a_neck_stays_whole(shape: tuple[int, ...]) -> None:
    parts = parts_of(np.ones(shape, bool), 1)
    np.testing.assert_array_equal(parts, np.ones(shape))


def test_the_plane_axis_of_a_flat_object_does_not_matter() -> None:
    rows, cols = np.mgrid[:40, :60]
    mask = np.minimum((rows - 20) ** 2 + (cols - 18) ** 2, (rows - 20) ** 2 + (cols - 42) ** 2) < 15**2
    flat = parts_of(mask, 2)
    assert set(np.unique(flat)) == {0, 1, 2}
    np.testing.assert_array_equal(parts_of(mask[:, None], 2)[:, 0], flat)


@pytest.mark.parametrize("ndim", [2, 3])
def test_single_pixels_among_the_objects_are_no_obstacle(tmp_path: Path, ndim: int) -> None:
    classes = np.zeros((2, 16, 16), np.uint32)
    classes[0, 2:8, 2:8], classes[1, 12, 12] = 1, 1
    store = LabelStore(classes.shape, path=tmp_path / "classes.zarr")
    for plane in range(2):
        store.put((plane,), Window(0, 0, 16, 16), classes[plane])
    assert separate_objects(store, tmp_path / "objects.zarr", ndim=ndim, split=2) == 2
    assert LabelStore.open(tmp_path / "objects.zarr").levels[0][1, 12, 12] == 2


@pytest.mark.parametrize("depth", [0, -1, float("nan")])
def test_a_depth_that_is_not_above_zero_is_refused(tmp_path: Path, depth: float) -> None:
    store = LabelStore((8, 8), path=tmp_path / "classes.zarr")
    store.put((), Window(0, 0, 8, 8), np.ones((8, 8), np.uint32))
    with pytest.raises(InputError, match="above 0 pixels"):
        separate_objects(store, tmp_path / "objects.zarr", ndim=2, split=depth)
