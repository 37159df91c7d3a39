"""What leaves for other programs lies where the image shows it, whatever plane it was made on."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import zarr

from napari_iseg.interactive.session import Session
from napari_iseg.labels.arrange import arranged
from napari_iseg.labels.export import export_labels
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Window

STACK = np.zeros((7, 20, 30), np.uint8)  # z, y, x
TRUTH = np.zeros(STACK.shape, np.uint32)
TRUTH[2:5, 7, 10:15] = 1  # z 2 to 4, y 7, x 10 to 14


def made_on_xz(labels: LabelStore | None = None, **options) -> Session:
    session = Session(STACK, labels=labels, plane_axes=(0, 2), rgb=False, **options)
    session.threshold = 0.5
    session.plane = (7,)
    session.set_mask(TRUTH[:, 7] == 1)
    session.commit()
    return session


@pytest.mark.parametrize("name", ["l.tif", "l.ome.tif", "l.zarr"])
@pytest.mark.parametrize("axes", [None, ("y", "z", "x"), ("b", "a", "c")])
def test_labels_of_other_planes_are_exported_in_the_images_order(tmp_path, name, axes):
    place = {"scale": (1, 3, 2), "units": ("um",) * 3}
    store = LabelStore((20, 7, 30), axes=axes, **place) if axes else None
    session = made_on_xz(store)
    if store is None:
        session.place(**place)
    path = export_labels(session.labels, tmp_path / name)
    if name == "l.zarr":
        np.testing.assert_array_equal(zarr.open_group(path)["0"][:], TRUTH)
        assert LabelStore.open(path).space.scale == (3, 1, 2)
        assert LabelStore.open(path).labels == (1,)
        return
    with tifffile.TiffFile(path) as tiff:
        assert tiff.series[0].axes == "ZYX"
        np.testing.assert_array_equal(tiff.asarray(), TRUTH)
        if tiff.is_imagej:
            assert tiff.imagej_metadata["spacing"] == 3
        else:
            assert 'PhysicalSizeZ="3' in tiff.ome_metadata


@pytest.mark.parametrize("axes", [None, ("y", "t", "x")])  # OME-Zarr cannot hold the second
def test_a_reopened_session_still_knows_the_order(tmp_path, axes):
    labels = LabelStore((20, 7, 30), axes=axes) if axes else None
    made_on_xz(labels, journal=tmp_path / "s").close()
    session = Session.open(tmp_path / "s", STACK)
    with tifffile.TiffFile(export_labels(session.labels, tmp_path / "l.tif")) as tiff:
        assert tiff.series[0].axes == ("TYX" if axes else "ZYX")
        np.testing.assert_array_equal(tiff.asarray(), TRUTH)


def test_names_in_another_order_are_not_called_zyx(tmp_path):
    store = LabelStore((30, 20, 7), axes=("x", "y", "z"))
    for x, y, z in np.argwhere(TRUTH.T):
        store.write(1, (x,), Window(y, z, y + 1, z + 1), np.ones((1, 1), bool))
    with tifffile.TiffFile(export_labels(store, tmp_path / "l.tif")) as tiff:
        assert tiff.series[0].axes == "ZYX"
        np.testing.assert_array_equal(tiff.asarray(), TRUTH)


def test_axes_that_run_backwards_are_turned_round_in_ome_zarr(tmp_path):
    store = LabelStore((700, 600), scale=(-10, 10), translate=(5000, 300))
    store.write(4, (), Window(30, 5, 35, 9), np.ones((5, 4), bool))
    path = export_labels(store, tmp_path / "m.zarr")
    copy = LabelStore.open(path)
    (scale, _), (start, left) = copy.space.scale, copy.space.translate
    assert scale == 10
    rows, cols = np.nonzero(copy.read() == 4)
    world = {5000 - 10 * row for row in range(30, 35)}
    assert set(start + scale * rows) == world
    assert set(left + 10 * cols) == {300 + 10 * col for col in range(5, 9)}
    np.testing.assert_array_equal(copy.levels[1][:], copy.read()[::2, ::2])
    np.testing.assert_array_equal(tifffile.imread(export_labels(store, tmp_path / "m.tif")), store.read())


def test_a_store_on_disk_states_the_direction_of_its_axes(tmp_path):
    LabelStore((70, 60), path=tmp_path / "l.zarr", scale=(-10, 10))
    assert LabelStore.open(tmp_path / "l.zarr").space.scale == (-10, 10)


def test_any_order_and_direction_is_that_of_numpy():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, (70, 2, 40, 30)).astype(np.uint32) * (rng.random((70, 2, 1, 1)) > 0.9)
    store = LabelStore(truth.shape)
    for plane in np.ndindex(truth.shape[:2]):
        for label in (1, 2):
            store.write(label, plane, Window(0, 0, 40, 30), truth[plane] == label)
    copy = arranged(store, (2, 0, 3, 1), (True, False, False, True))
    expected = np.flip(truth.transpose(2, 0, 3, 1), (0, 3))
    np.testing.assert_array_equal(copy.levels[0][:], expected)
    assert copy.labels == (1, 2)
