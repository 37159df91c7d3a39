"""Objects out of classes: as scipy finds them in memory, whatever the blocks."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from napari_iseg.errors import DamageError, InputError, SaveError
from napari_iseg.fewshot import components
from napari_iseg.fewshot.components import separate_objects
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Window


def stored(path: Path, values: np.ndarray, chunks: int) -> LabelStore:
    store = LabelStore(values.shape, path=path, chunks=(1, chunks, chunks)[-values.ndim :])
    for plane in np.ndindex(values.shape[:-2]):
        store.put(plane, Window.of_shape(values.shape[-2:]), values[plane].astype(np.uint32))
    return store


def truth(values: np.ndarray, ndim: int) -> np.ndarray:
    """Components per class, numbered by their first pixel."""
    found = np.zeros(values.shape, np.int64)
    planes = [()] if ndim == values.ndim else list(np.ndindex(values.shape[: values.ndim - ndim]))
    last = 0
    for plane in planes:
        for label in np.unique(values[plane]):
            if label:
                part, count = ndimage.label(values[plane] == label)
                found[plane][part > 0] = part[part > 0] + last
                last += count
    ids, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    order = np.argsort(first[1:])
    new = np.zeros(len(ids), np.int64)
    new[1 + order] = np.arange(1, len(ids))
    return new[inverse].reshape(values.shape)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("block_values", [1, 2000, 10**7])
def test_equal_to_labelling_in_memory(tmp_path: Path, ndim: int, block_values: int) -> None:
    rng = np.random.default_rng(3)
    smooth = ndimage.gaussian_filter(rng.standard_normal((5, 40, 60)), (0.7, 2, 2))
    classes = np.digitize(smooth, [0.06, 0.16]).astype(np.uint32)
    store = stored(tmp_path / "classes.zarr", classes, 16)
    count = separate_objects(store, tmp_path / "objects.zarr", ndim=ndim, block_values=block_values)
    found = np.asarray(LabelStore.open(tmp_path / "objects.zarr").levels[0][...])
    expected = truth(classes, ndim)
    assert count == expected.max() > 5
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("block_values", [1, 10**7])
def test_what_lies_far_apart_is_found_without_looking_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_values: int
) -> None:
    scene = np.zeros((400, 400), np.uint32)
    scene[10:20, 14:18], scene[380:385, 360:399] = 1, 2  # both go over borders of chunks
    store, read = LabelStore(scene.shape, path=tmp_path / "classes.zarr", chunks=16), []
    for window in (Window(0, 0, 24, 24), Window(376, 350, 400, 400)):
        store.put((), window, scene[window.slices])
    block = LabelStore.block
    monkeypatch.setattr(LabelStore, "block", lambda self, box: (read.append(box), block(self, box))[1])
    count = separate_objects(store, tmp_path / "objects.zarr", ndim=2, block_values=block_values, split=2)
    assert count == 2
    np.testing.assert_array_equal(LabelStore.open(tmp_path / "objects.zarr").levels[0][...], truth(scene, 2))
    assert block_values > 1 or len(read) < 50, "of 625 chunks"


def test_a_snake_over_all_blocks_is_one_object(tmp_path: Path) -> None:
    scene = np.zeros((40, 40), np.uint32)
    scene[::4] = 1
    scene[:, 0][2::8], scene[:, -1][6::8] = 1, 1
    for row in range(0, 36, 4):
        scene[row : row + 4, 0 if (row // 4) % 2 else -1] = 1
    store = stored(tmp_path / "classes.zarr", scene, 8)
    assert separate_objects(store, tmp_path / "objects.zarr", ndim=2, block_values=1) == truth(scene, 2).max()


def test_small_objects_are_dropped_and_space_is_kept(tmp_path: Path) -> None:
    scene = np.zeros((30, 30), np.uint32)
    scene[2:4, 2:4], scene[10:20, 10:20], scene[25, 25] = 1, 1, 2
    store = LabelStore(scene.shape, path=tmp_path / "classes.zarr", scale=(0.5, 0.5), units=("um", "um"))
    store.put((), Window(0, 0, 30, 30), scene)
    assert separate_objects(store, tmp_path / "objects.zarr", ndim=2, min_pixels=4) == 2
    made = LabelStore.open(tmp_path / "objects.zarr")
    assert made.space == store.space
    assert made.next_label() == 3
    assert made.read()[25, 25] == 0


@pytest.mark.parametrize("block_values", [1, 10**7])
def test_touching_discs_are_split_wherever_blocks_end(tmp_path: Path, block_values: int) -> None:
    rows, cols = np.mgrid[:60, :80]
    discs = [(rows - 30) ** 2 + (cols - c) ** 2 < 15**2 for c in (20, 44)]
    scene = (discs[0] | discs[1]).astype(np.uint32)
    store = stored(tmp_path / "classes.zarr", scene, 16)
    whole = separate_objects(store, tmp_path / "whole.zarr", ndim=2, block_values=block_values)
    parts = separate_objects(store, tmp_path / "parts.zarr", ndim=2, split=2, block_values=block_values)
    assert (whole, parts) == (1, 2)
    found = LabelStore.open(tmp_path / "parts.zarr").read()
    assert len({found[30, 12], found[30, 52]}) == 2
    assert np.array_equal(found > 0, scene > 0)


def test_a_full_disk_leaves_nothing_and_keeps_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stored(tmp_path / "classes.zarr", np.ones((8, 8), np.uint32), 8)
    separate_objects(store, tmp_path / "objects.zarr", ndim=2)
    before = sorted(tmp_path.rglob("*"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(components, "write_levels", full)
    with pytest.raises(SaveError, match="free some space"):
        separate_objects(store, tmp_path / "objects.zarr", ndim=2, overwrite=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_refusals(tmp_path: Path) -> None:
    store = stored(tmp_path / "classes.zarr", np.ones((8, 8), np.uint32), 8)
    with pytest.raises(InputError, match="ndim must be"):
        separate_objects(store, tmp_path / "a.zarr", ndim=3)
    with pytest.raises(InputError, match="exists already"):
        separate_objects(store, tmp_path / "classes.zarr", ndim=2)


def test_classes_that_are_damaged_are_named(tmp_path: Path) -> None:
    stored(tmp_path / "classes.zarr", np.eye(8, dtype=np.uint32), 8)
    file = tmp_path / "classes.zarr/0/c/0/0"
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(DamageError, match=r"classes\.zarr could not be read as labels"):
        separate_objects(tmp_path / "classes.zarr", tmp_path / "objects.zarr", ndim=2)
    assert [path.name for path in tmp_path.iterdir()] == ["classes.zarr"]
