"""What leaves for other programs lies where the image shows it, whatever plane it was made on."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_iseg.errors import SaveError
from napari_iseg.interactive.session import Session
from napari_iseg.labels import arrange
from napari_iseg.labels.arrange import arranged
from napari_iseg.labels.export import export_labels
from napari_iseg.labels.reading import occupied_tiles
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


def test_axes_that_run_backwards_keep_their_pixels_and_direction(tmp_path):
    store = LabelStore((700, 600), scale=(-10, 10), translate=(5000, 300))
    store.write(4, (), Window(30, 5, 35, 9), np.ones((5, 4), bool))
    copy = LabelStore.open(export_labels(store, tmp_path / "m.zarr"))
    assert copy.space == store.space
    for ours, theirs in zip(copy.levels, store.levels, strict=True):
        np.testing.assert_array_equal(ours[:], theirs[:])
    # and what is made of the copy lies on the image again
    for name in ("m.tif", "m.png"):
        again = export_labels(copy, tmp_path / name)
        read = tifffile.imread(again) if name == "m.tif" else np.asarray(Image.open(again))
        np.testing.assert_array_equal(read, store.read())


def test_a_store_on_disk_states_the_direction_of_its_axes(tmp_path):
    LabelStore((70, 60), path=tmp_path / "l.zarr", scale=(-10, 10))
    assert LabelStore.open(tmp_path / "l.zarr").space.scale == (-10, 10)


def random_store() -> tuple[LabelStore, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, (70, 2, 40, 30)).astype(np.uint32) * (rng.random((70, 2, 1, 1)) > 0.9)
    store = LabelStore(truth.shape)
    for plane in np.ndindex(truth.shape[:2]):
        for label in (1, 2):
            store.write(label, plane, Window(0, 0, 40, 30), truth[plane] == label)
    return store, truth


@pytest.mark.parametrize("order", [(2, 0, 3, 1), (0, 1, 2, 3), (2, 3, 0, 1), (1, 3, 2, 0), (1, 0, 2, 3)])
def test_any_order_is_that_of_numpy(order):
    store, truth = random_store()
    copy = arranged(store, order)
    expected = truth.transpose(order)
    np.testing.assert_array_equal(copy.levels[0][:], expected)
    assert copy.labels == (1, 2)
    seen = np.zeros_like(expected)
    for plane, tile in occupied_tiles(copy):
        seen[plane][tile.slices] = copy.read(plane, tile)
    np.testing.assert_array_equal(seen, expected)


def test_a_copy_has_few_traces_and_one_on_disk_to_be_kept_has_none(tmp_path):
    store, truth = random_store()
    few = truth.any((2, 3)).sum() + 2
    assert sum(len(store.traces_of(label)) for label in store.labels) > few
    copy = arranged(store, (1, 0, 2, 3))
    assert sum(len(copy.traces_of(label)) for label in (1, 2)) <= few
    kept = arranged(store, (0, 1, 2, 3), path=tmp_path / "l.zarr", traced=False)
    assert kept.labels == ()


@pytest.mark.parametrize("name", ["l.tif", "l.ome.tif"])
@pytest.mark.parametrize(("axes", "copies"), [(("y", "z", "x"), 1), (("z", "y", "x"), 0)])
def test_one_copy_at_most_is_made_for_a_tiff(tmp_path, monkeypatch, name, axes, copies):
    store = LabelStore((20, 7, 30), axes=axes)
    store.write(1, (7,), Window(0, 0, 7, 30), TRUTH[:, 7] == 1)
    store.image_axes = (1, 0, 2)
    made = []
    sound = LabelStore.__init__
    monkeypatch.setattr(
        LabelStore, "__init__", lambda self, *a, **k: (made.append(k), sound(self, *a, **k))[1]
    )
    written = tifffile.imread(export_labels(store, tmp_path / name))
    assert len(made) == copies
    np.testing.assert_array_equal(written, TRUTH if copies else TRUTH.transpose(1, 0, 2))


@pytest.mark.parametrize(
    ("shape", "axes", "expected"),
    [
        ((1100, 1024), (0, 1), [((), Window(0, 0, 1024, 1024)), ((), Window(1024, 0, 1100, 1024))]),
        ((130, 2, 100), (1, 0, 2), [((0,), Window(0, 0, 130, 100)), ((1,), Window(0, 0, 130, 100))]),
    ],
)
def test_every_part_of_a_plane_is_written_once(tmp_path, monkeypatch, shape, axes, expected):
    store = LabelStore(shape)
    for plane in np.ndindex(shape[:-2]):
        store.write(1, plane, Window.of_shape(shape[-2:]), np.ones(shape[-2:], bool))
    store.image_axes = axes
    written = []
    sound = LabelStore.put

    def put(self, plane, window, values):
        written.append((plane, window))
        sound(self, plane, window, values)

    monkeypatch.setattr(LabelStore, "put", put)
    export_labels(store, tmp_path / "l.zarr")
    assert written == expected


@pytest.mark.parametrize("full", [False, True])
def test_a_large_copy_lies_beside_the_file_and_goes(tmp_path, monkeypatch, full):
    monkeypatch.setattr(arrange, "_IN_MEMORY", 100)
    session = made_on_xz()
    places = []
    sound = LabelStore.put

    def put(self, *args):
        places.append(self.path)
        if full:
            raise SaveError("The labels in ... could not be written.") from OSError(28, "No space left")
        sound(self, *args)

    monkeypatch.setattr(LabelStore, "put", put)
    if full:
        with pytest.raises(SaveError, match=r"l\.tif could not be written \(No space left\)"):
            export_labels(session.labels, tmp_path / "l.tif")
    else:
        np.testing.assert_array_equal(
            tifffile.imread(export_labels(session.labels, tmp_path / "l.tif")), TRUTH
        )
    assert {place.parent for place in places} == {tmp_path}
    assert [entry.name for entry in tmp_path.iterdir()] == ([] if full else ["l.tif"])
