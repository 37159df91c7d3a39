"""GeoJSON: longitude and latitude on the Earth, true areas, and read again as the region of a run."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_iseg.errors import InputError
from napari_iseg.fewshot.areas import Areas
from napari_iseg.labels.export import check_export, export_labels
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Window

rasterio = pytest.importorskip("rasterio")
pytest.importorskip("pyogrio")
pytest.importorskip("shapely")

PLACE = rasterio.transform.from_origin(691_000, 5_335_000, 0.5, 0.5)


def store_of(labels):
    store = LabelStore(labels.shape)
    for label in np.unique(labels[labels > 0]):
        store.write(int(label), (), Window.of_shape(labels.shape), labels == label)
    return store


def test_a_geojson_is_longitude_and_latitude_and_lies_in_place(tmp_path):
    labels = np.zeros((60, 80), np.uint32)
    labels[10:20, 30:50] = 1
    labels[12:14, 32:34] = 0  # a courtyard
    labels[40:44, 5:9] = labels[50:54, 5:9] = 7
    scene = tmp_path / "scene.tif"
    shape = {"height": 60, "width": 80, "count": 1, "dtype": "uint8"}
    with rasterio.open(scene, "w", driver="GTiff", crs="EPSG:32632", transform=PLACE, **shape) as file:
        file.write(np.zeros((1, 60, 80), np.uint8))
    path = export_labels(store_of(labels), tmp_path / "o.geojson", like=scene)
    content = json.loads(path.read_text())
    assert "crs" not in content, "RFC 7946 has one CRS only"
    fields = [feature["properties"] for feature in content["features"]]
    assert fields == [{"label": 1, "area_m2": 49.0}, {"label": 7, "area_m2": 8.0}]
    ring = np.array(content["features"][0]["geometry"]["coordinates"][0][0])
    assert np.abs(ring - (11.567, 48.139)).max() < 0.001
    x, y = ring.T
    assert (x[:-1] * y[1:] - x[1:] * y[:-1]).sum() > 0, "the outer ring is counterclockwise"
    np.testing.assert_array_equal(Areas.read(path, scene).mask(Window.of_shape((60, 80))), labels > 0)
    pieces = export_labels(store_of(labels), tmp_path / "p.geojson", like=scene, pieces=True)
    assert [f["properties"]["label"] for f in json.loads(pieces.read_text())["features"]] == [1, 7, 7]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ({}, "A GeoJSON needs map coordinates"),
        ({"transform": PLACE}, "image's CRS gives none; save as .gpkg"),
        (
            {"transform": PLACE, "crs": 'LOCAL_CS["site",UNIT["metre",1]]'},
            "image's CRS gives none; save as .gpkg",
        ),
    ],
)
def test_without_a_place_on_the_earth_it_is_refused(tmp_path, place, words):
    with pytest.raises(InputError, match=words):
        export_labels(store_of(np.eye(9, dtype=np.uint32)), tmp_path / "o.geojson", **place)
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="A GeoJSON needs map coordinates"):
        check_export(store_of(np.eye(9, dtype=np.uint32)), tmp_path / "o.geojson")


def test_of_a_satellites_full_disk_what_is_in_space_is_named(tmp_path):
    pixel, labels = 111_375.0, np.zeros((100, 100), np.uint32)
    place = {
        "crs": "+proj=geos +h=35785831 +lon_0=0 +sweep=y +ellps=WGS84 +units=m",
        "transform": rasterio.transform.from_origin(-50 * pixel, 50 * pixel, pixel, pixel),
    }
    labels[40:60, 40:60] = 1
    path = export_labels(store_of(labels), tmp_path / "o.geojson", **place)
    before = path.read_bytes()
    labels[1:5, 1:5] = 2
    labels[40:60, :10] = 5  # over the limb
    with pytest.raises(InputError, match=r"Label 2 \(and 1 more\) reaches beyond the Earth.*save as \.gpkg"):
        export_labels(store_of(labels), path, **place)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["o.geojson"]


def test_a_corner_of_the_full_disk_whose_middle_is_in_space_is_saved(tmp_path):
    pixel, labels = 111_375.0, np.zeros((30, 30), np.uint32)
    labels[25:29, 25:29] = 1
    place = rasterio.transform.from_origin(-50 * pixel, 50 * pixel, pixel, pixel)
    crs = "+proj=geos +h=35785831 +lon_0=0 +sweep=y +ellps=WGS84 +units=m"
    path = export_labels(store_of(labels), tmp_path / "o.geojson", crs=crs, transform=place)
    assert len(json.loads(path.read_text())["features"]) == 1
