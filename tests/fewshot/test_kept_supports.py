"""The supports that a run has kept are found again by the names of their files."""

from __future__ import annotations

import os

import numpy as np
import pytest

from napari_iseg.fewshot.support_store import SupportStore, kept_supports
from napari_iseg.images import PlaneSource
from napari_iseg.prompts import Window

WHOLE, PART = Window(0, 0, 8, 9), Window(2, 3, 6, 9)


@pytest.mark.parametrize("plane", [(), (3,), (1, 12)])
@pytest.mark.parametrize("window", [WHOLE, PART])
def test_a_kept_support_tells_its_place_and_mask(tmp_path, plane, window):
    image = np.arange(2 * 13 * 72, dtype=np.uint16).reshape(2, 13, 8, 9)[(0,) * (2 - len(plane))]
    store = SupportStore(tmp_path / "supports")
    mask = np.full(window.shape, -1, np.int32)
    mask[0, 0] = 5
    store.add(PlaneSource.wrap(image, rgb=False), plane, window, (0.0,) * (2 + len(plane)), mask)
    (tmp_path / "supports" / "notes.npz").write_bytes(b"")
    (kept,) = kept_supports(tmp_path)
    assert (kept.plane, kept.top, kept.left) == (plane, window.top, window.left)
    np.testing.assert_array_equal(kept.mask(), mask)
    kept.file.write_bytes(b"damaged")
    assert kept.mask() is None


def test_those_kept_first_come_first_and_no_folder_holds_none(tmp_path):
    assert kept_supports(tmp_path) == []
    store, source = SupportStore(tmp_path / "supports"), PlaneSource.wrap(np.zeros((3, 8, 9)), rgb=False)
    for index, when in ((0, 30), (1, 10), (2, 20)):
        ref = store.add(source, (index,), WHOLE, (0.0, 0.0, 0.0), np.ones((8, 9), np.int32))
        os.utime(tmp_path / "supports" / f"{ref.key}-{ref.version:016x}.npz", (when, when))
    assert [kept.plane for kept in kept_supports(tmp_path)] == [(1,), (2,), (0,)]
