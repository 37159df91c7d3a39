"""A GeoTIFF that names a CRS, or control points, but gives its pixels no place by a transform."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from napari_iseg.errors import InputError
from napari_iseg.images.scene import open_scene
from napari_iseg.labels.export import export_labels
from napari_iseg.labels.georeference import check_same_place, geo_reference, to_pixels
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Window

rasterio = pytest.importorskip("rasterio")
pytest.importorskip("rasterio.shutil")

NORTH = rasterio.transform.from_origin(600_000, 5_300_000, 2, 2)
POINTS = [
    rasterio.control.GroundControlPoint(row, col, 600_000 + 2 * col, 5_300_000 - 2 * row)
    for row, col in ((0, 0), (0, 40), (30, 0), (30, 40))
]


def raster(path, **place):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", width=40, height=30, count=1, dtype="uint8", **place) as file:
            file.write(np.zeros((30, 40), np.uint8), 1)
    return path


@pytest.fixture(params=["crs", "gcps"])
def nowhere(request, tmp_path):
    if request.param == "crs":
        return raster(tmp_path / "crs.tif", crs="EPSG:25832")
    return raster(tmp_path / "gcps.tif", crs="EPSG:25832", gcps=POINTS)


@pytest.fixture
def labels():
    store = LabelStore((30, 40))
    store.write(1, (), Window(5, 5, 14, 14), np.ones((9, 9), bool))
    return store


def test_it_keeps_its_crs_and_has_no_transform_as_in_a_viewer(nowhere):
    geo = geo_reference(nowhere, None, None)
    assert geo.crs.to_epsg() == 25832
    assert geo.transform is None
    assert not open_scene(nowhere).on_map


@pytest.mark.parametrize("name", ["o.gpkg", "o.geojson"])
def test_outlines_have_no_place_on_a_map(nowhere, labels, tmp_path, name):
    with pytest.raises(InputError, match="needs map coordinates and the image has none"):
        export_labels(labels, tmp_path / name, like=nowhere)
    assert not (tmp_path / name).exists()


def test_polygons_in_pixels_are_taken_for_pixels(nowhere):
    ring = [(5, 5), (9, 5), (9, 8), (5, 5)]
    (rings,) = to_pixels([{"type": "Polygon", "coordinates": [ring]}], None, nowhere)
    assert rings[0][:2] == [(4.5, 4.5), (4.5, 8.5)]


def test_labels_with_a_place_are_not_compared_with_it(nowhere, tmp_path):
    placed = raster(tmp_path / "placed.tif", crs="EPSG:25832", transform=NORTH)
    check_same_place(nowhere, placed)
    check_same_place(placed, nowhere)


def test_a_tiff_keeps_what_there_is_without_a_word_of_other_packages(nowhere, labels, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = export_labels(labels, tmp_path / "o.tif", like=nowhere)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(nowhere) as image, rasterio.open(path) as written:
            assert written.read(1).sum() == 81
            assert written.crs == image.crs
            assert written.transform.is_identity
            (ours, crs), (theirs, their_crs) = written.gcps, image.gcps
    assert crs == their_crs
    assert [(p.row, p.col, p.x, p.y) for p in ours] == [(p.row, p.col, p.x, p.y) for p in theirs]


def test_a_given_transform_takes_the_place_of_control_points(nowhere, labels, tmp_path):
    path = export_labels(labels, tmp_path / "o.tif", like=nowhere, transform=NORTH)
    with rasterio.open(path) as written:
        assert written.crs.to_epsg() == 25832
        assert written.transform == NORTH
        assert written.gcps == ([], None)


def test_control_points_of_a_virtual_raster_are_kept_too(labels, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        points = raster(tmp_path / "gcps.tif", crs="EPSG:25832", gcps=POINTS)
        rasterio.shutil.copy(points, tmp_path / "gcps.vrt", driver="VRT")
        path = export_labels(labels, tmp_path / "o.tif", like=tmp_path / "gcps.vrt")
        with rasterio.open(path) as written:
            assert len(written.gcps[0]) == 4
