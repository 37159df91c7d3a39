"""What the dock exports lies where the objects are seen, on other planes and on maps too."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_iseg.labels.store import LabelStore
from napari_iseg.widgets.map_place import export_beside
from napari_iseg.widgets.sessions import face


def exported(bench, path, monkeypatch):
    monkeypatch.setattr(bench.dock, "ask_for_file", lambda _suggestion, then: then(path))
    bench.do("save")
    assert path.exists(), bench.dock.status.text()
    return path


@pytest.mark.parametrize("named", [False, True])
def test_objects_of_other_planes_are_saved_as_the_image_lies(bench, tmp_path, monkeypatch, named):
    names = {"axis_labels": ("z", "y", "x")} if named else {}
    pixels = np.random.default_rng(0).integers(0, 255, (60, 70, 80), np.uint8)
    bench.viewer.add_image(pixels, scale=(3, 1, 1), units="um", **names)
    bench.open()
    bench.viewer.dims.order = (1, 0, 2)
    bench.viewer.dims.set_point(1, 33)
    bench.click((20, 33, 50))
    bench.do("commit")
    seen = np.asarray(bench.editor.layers.committed.data)
    assert set(np.argwhere(seen)[:, 1]) == {33}
    with tifffile.TiffFile(exported(bench, tmp_path / "l.tif", monkeypatch)) as tiff:
        assert tiff.series[0].axes == "ZYX"
        assert tiff.imagej_metadata["spacing"] == 3
        np.testing.assert_array_equal(tiff.asarray(), seen)
    store = LabelStore.open(exported(bench, tmp_path / "l.zarr", monkeypatch))
    np.testing.assert_array_equal(store.levels[0][:], seen)
    assert (store.space.axes, store.space.scale) == (("z", "y", "x"), (3, 1, 1))


def test_an_image_that_runs_backwards_has_its_objects_in_ome_zarr_where_they_are_seen(
    bench, tmp_path, monkeypatch
):
    pixels = np.random.default_rng(0).integers(0, 255, (120, 100), np.uint8)
    image = bench.viewer.add_image(pixels, scale=(-10, 10), translate=(5000, 300), axis_labels=("y", "x"))
    bench.open()
    bench.click((70, 30))
    bench.do("commit")
    store = LabelStore.open(exported(bench, tmp_path / "l.zarr", monkeypatch))
    assert store.space.scale == (-10, 10)
    layer = bench.viewer.add_labels(
        store.levels[0][:].astype(int), scale=store.space.scale, translate=store.space.translate
    )
    committed = bench.editor.layers.committed
    places = [
        np.asarray(each.data_to_world(np.argwhere(np.asarray(each.data)).mean(0)))
        for each in (layer, committed)
    ]
    np.testing.assert_allclose(*places)
    np.testing.assert_allclose(places[0], image.data_to_world((70, 30)), atol=15)


def test_a_session_of_before_directions_were_recorded_takes_that_of_its_image(bench):
    pixels = np.random.default_rng(0).integers(0, 255, (120, 100), np.uint8)
    image = bench.viewer.add_image(pixels, scale=(-10, 10), translate=(5000, 300))
    bench.open()
    bench.click((70, 30))
    session = bench.editor.session
    session.place(scale=(10, 10), translate=(5000, 300))
    face(session, image.scale)
    assert session.labels.space.scale == (-10, 10)
    assert session.labels.space.translate == (5000, 300)


def test_labels_of_a_cropped_layer_do_not_take_the_place_of_its_whole_file(bench, tmp_path, monkeypatch):
    rasterio = pytest.importorskip("rasterio")
    path, pixels = tmp_path / "scene.tif", np.random.default_rng(0).integers(0, 255, (160, 180), np.uint8)
    place = {"crs": "EPSG:25832", "transform": rasterio.Affine(2, 0, 500, 0, -2, 900)}
    with rasterio.open(path, "w", width=180, height=160, count=1, dtype="uint8", **place) as file:
        file.write(pixels, 1)
    (image,) = bench.viewer.open(path, plugin="napari")
    for crop, known in ((np.s_[:, :], True), (np.s_[40:, 30:], False)):
        image.data = pixels[crop]
        if bench.dock is None:
            bench.open()
        bench.click((60, 70))
        bench.do("commit")
        with rasterio.open(exported(bench, tmp_path / f"{known}.tif", monkeypatch)) as file:
            assert (file.crs is not None) == known
        assert ("no map coordinates" in bench.dock.status.text()) != known
    before = path.read_bytes()
    exported(bench, path, monkeypatch)
    assert path.read_bytes() == before, "the image itself is not written over"


@pytest.mark.parametrize(("shape", "known"), [((40, 50), True), ((30, 50), False)])
def test_a_jpeg_2000_gives_its_place_to_labels_of_all_of_it_only(tmp_path, shape, known):
    rasterio = pytest.importorskip("rasterio")
    place = {"crs": "EPSG:25832", "transform": rasterio.Affine(2, 0, 500, 0, -2, 900)}
    kind = {"driver": "JP2OpenJPEG", "width": 50, "height": 40, "count": 1, "dtype": "uint8"}
    with rasterio.open(tmp_path / "scene.jp2", "w", **kind, **place) as file:
        file.write(np.zeros((40, 50), np.uint8), 1)
    said = export_beside(LabelStore(shape), tmp_path / "labels.tif", str(tmp_path / "scene.jp2"), shape)
    with rasterio.open(tmp_path / "labels.tif") as file:
        assert (file.crs is not None) == known
    assert ("no map coordinates" in said) != known


def test_an_image_that_has_moved_costs_its_place_and_no_more(tmp_path):
    labels, moved = LabelStore((9, 9)), str(tmp_path / "gone" / "town.tif")
    assert "the file of the layer is not where it was" in export_beside(
        labels, tmp_path / "l.tif", moved, (9, 9)
    )
    assert (tmp_path / "l.tif").exists()
    assert not export_beside(labels, tmp_path / "l.zarr", moved, (9, 9))
