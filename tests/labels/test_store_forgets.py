"""A label store lists the objects that have pixels, as it does when it is opened again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_iseg.labels.checks import HIGHEST
from napari_iseg.labels.store import LabelStore

ALL, NONE = np.ones((10, 10), bool), np.zeros((10, 10), bool)
HERE = (0, 0, 10, 10)


def test_what_was_given_no_pixel_is_no_object_and_its_number_is_used_up(tmp_path: Path) -> None:
    store = LabelStore((40, 50), path=tmp_path / "l.zarr")
    store.write(5, (), HERE, NONE)
    assert (store.labels, store.next_label()) == ((), 6)
    store.write(6, (), HERE, ALL)
    store.write(9, (), HERE, ALL)  # all of it is another's
    assert (store.labels, store.next_label()) == ((6,), 10)
    store.write(HIGHEST, (), (5, 0, 15, 10), ALL)
    store.write(8, (), (0, 0, 15, 10), np.ones((15, 10), bool), overwrite=True)
    assert store.labels == (8,)
    store.flush()
    opened = LabelStore.open(tmp_path / "l.zarr")
    assert (opened.labels, opened.next_label()) == ((8,), HIGHEST + 1)


@pytest.mark.parametrize("searched", [False, True])
def test_an_object_found_by_search_is_forgotten_when_overwritten(tmp_path: Path, searched: bool) -> None:
    store = LabelStore((1300, 50), path=tmp_path / "l.zarr")
    store.write(5, (), HERE, ALL)
    store = LabelStore.open(tmp_path / "l.zarr")
    assert not searched or store.labels == (5,)
    store.write(7, (), HERE, ALL, overwrite=True)
    assert store.labels == (7,)


def test_an_object_with_pixels_left_anywhere_stays(tmp_path: Path) -> None:
    store = LabelStore((2, 40, 50))
    store.write(1, (0,), HERE, ALL)
    store.write(1, (1,), HERE, ALL)
    store.write(2, (0,), (0, 0, 10, 9), ALL[:, :9], overwrite=True)
    store.write(3, (1,), HERE, ALL, overwrite=True)
    assert store.labels == (1, 2, 3)
    assert store.erase(1) == 10
    store.write(4, (1,), HERE, ALL, overwrite=True)
    assert store.labels == (2, 4)
