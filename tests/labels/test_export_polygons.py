"""GeoPackages: one polygon per object, where it lies, as large as it is, in one piece across tiles."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from napari_iseg.errors import InputError, SaveError
from napari_iseg.labels.export import export_labels
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Window

pyogrio = pytest.importorskip("pyogrio")
rasterio = pytest.importorskip("rasterio")
shapely = pytest.importorskip("shapely")

NORTH = rasterio.transform.from_origin(500_000, 6_000_000, 0.5, 0.5)

PIXEL = 111_375.0
FULL_DISK = {
    "crs": "+proj=geos +h=35785831 +lon_0=0 +sweep=y +ellps=WGS84 +units=m",
    "transform": rasterio.transform.from_origin(-50 * PIXEL, 50 * PIXEL, PIXEL, PIXEL),
}


def store_of(labels):
    store = LabelStore(labels.shape)
    for label in np.unique(labels[labels > 0]):
        store.write(int(label), (), Window.of_shape(labels.shape), labels == label)
    return store


def features(path):
    meta, _, wkb, fields = pyogrio.raw.read(path)
    names = dict(zip(meta["fields"], fields, strict=True))
    return meta["crs"], shapely.from_wkb(wkb), names["label"].tolist(), names["area_m2"].tolist()


def test_one_polygon_per_object_in_the_scenes_crs_with_square_metres_and_no_seams(tmp_path):
    labels = np.zeros((1300, 1100), np.uint32)
    labels[10:20, 30:50] = 1  # 10 x 20 pixels of 0.5 m
    labels[1000:1060, 1010:1040] = 1  # crosses the border of the tiles both ways
    labels[100:110, 100:110] = 2
    labels[102:104, 102:104] = 0  # a courtyard
    path = export_labels(
        store_of(labels), tmp_path / "b.gpkg", crs="EPSG:25832", transform=NORTH, pieces=True
    )
    crs, shapes, found, areas = features(path)
    assert rasterio.crs.CRS.from_user_input(crs).to_epsg() == 25832
    assert found == [1, 1, 2]
    assert sorted(areas) == [24.0, 50.0, 450.0]
    np.testing.assert_allclose([shape.area for shape in shapes], areas)
    boxes = {shape.bounds for shape in shapes}
    assert (500_015, 5_999_990, 500_025, 5_999_995) in boxes
    assert (500_505, 5_999_470, 500_520, 5_999_500) in boxes
    assert len(shapes[2].interiors) == 1
    assert all(len(shape.exterior.coords) == 5 for shape in shapes), "no corners left where tiles met"


def test_a_label_in_pieces_is_one_feature_unless_labels_are_classes(tmp_path):
    labels = np.zeros((40, 40), np.uint32)
    labels[2:4, 2:4] = labels[10:12, 10:12] = 5
    labels[20:22, 20:22] = labels[22:24, 22:24] = 6  # meet in a corner only
    place = {"crs": "EPSG:25832", "transform": NORTH}
    _, shapes, found, _ = features(export_labels(store_of(labels), tmp_path / "o.gpkg", **place))
    assert found == [5, 6]
    assert {shape.geom_type for shape in shapes} == {"MultiPolygon"}
    _, shapes, found, _ = features(export_labels(store_of(labels), tmp_path / "c.gpkg", pieces=True, **place))
    assert found == [5, 5, 6, 6]


def test_labels_above_the_half_of_uint32_have_their_polygons(tmp_path):
    labels = np.zeros((40, 40), np.uint32)
    labels[2:4, 2:4], labels[2:4, 4:6], labels[20:24, 20:24] = 7, 2**24 + 7, 2**31 + 5
    labels[20:24, 24:26] = 2**32 - 1
    _, _, found, areas = features(
        export_labels(store_of(labels), tmp_path / "o.gpkg", crs="EPSG:25832", transform=NORTH)
    )
    assert found == [7, 2**24 + 7, 2**31 + 5, 2**32 - 1]
    assert areas == [1.0, 1.0, 4.0, 2.0]


def test_degrees_still_give_square_metres(tmp_path):
    labels = np.zeros((30, 30), np.uint32)
    labels[10:20, 10:20] = 1
    degrees = rasterio.transform.from_origin(11.0, 48.0, 1e-5, 1e-5)
    path = export_labels(store_of(labels), tmp_path / "d.gpkg", crs="EPSG:4326", transform=degrees)
    # 1e-4 degrees: 11.12 m to the north, 7.44 m to the east at 48 degrees
    assert features(path)[3] == [pytest.approx(11.12 * 7.46, rel=0.01)]


def test_web_mercator_gives_square_metres_of_the_ground_and_feet_are_metres(tmp_path):
    labels = np.zeros((120, 120), np.uint32)
    labels[10:110, 10:110] = 1
    place = rasterio.transform.from_origin(1_280_000, 6_130_000, 1, 1)
    path = export_labels(store_of(labels), tmp_path / "web.gpkg", crs="EPSG:3857", transform=place)
    assert features(path)[3] == pytest.approx([4457], abs=1)
    place = rasterio.transform.from_origin(980_000, 200_000, 1, 1)
    path = export_labels(store_of(labels), tmp_path / "feet.gpkg", crs="EPSG:2263", transform=place)
    assert features(path)[3] == pytest.approx([10_000 * 0.3048006**2], rel=1e-6)


@pytest.mark.parametrize(
    ("crs", "west", "north", "metres"),
    [
        ("EPSG:3413", -1_500_300, 1_500_300, 10_000),  # across the 180th meridian
        ("EPSG:3413", 20_000, 20_000, 10_000),  # beside the pole
        ("+proj=eqc +R=3396190 +units=m", 1000, 1000, 10_000),  # of Mars
        ('LOCAL_CS["site",UNIT["metre",1]]', 1000, 1000, 10_000),
    ],
)
def test_areas_where_longitudes_jump_and_off_the_earth(tmp_path, crs, west, north, metres):
    labels = np.zeros((120, 120), np.uint32)
    labels[10:20, 10:20] = 1
    place = rasterio.transform.from_origin(west, north, 10, 10)
    path = export_labels(store_of(labels), tmp_path / "o.gpkg", crs=crs, transform=place)
    assert features(path)[3] == pytest.approx([metres], rel=0.08)


@pytest.mark.parametrize(
    ("crs", "side", "ground"),
    [
        ("EPSG:3413", 10_000, 1.0631),  # true to scale at 70 degrees
        ("EPSG:3031", 100, 1.0574),  # at 71 degrees
        ("EPSG:6931", 25_000, 1.0),  # equal areas
    ],
)
def test_areas_around_a_pole_are_those_beside_it(tmp_path, crs, side, ground):
    labels = np.zeros((100, 100), np.uint32)
    labels[40:60, 40:60] = 1
    labels[70:80, 70:80] = 2
    place = rasterio.transform.from_origin(-50 * side, 50 * side, side, side)
    path = export_labels(store_of(labels), tmp_path / "o.gpkg", crs=crs, transform=place)
    squares = np.array([400, 100]) * float(side) ** 2
    assert features(path)[3] == pytest.approx(squares * ground, rel=0.003)


def test_areas_of_the_disk_that_a_satellite_sees_are_of_the_ground_where_there_is_one(tmp_path):
    labels = np.zeros((100, 100), np.uint32)
    labels[48:52, 48:52] = 1
    labels[1:5, 1:5] = 2  # in space
    labels[45:49, 10:14] = 3  # near the limb
    path = export_labels(store_of(labels), tmp_path / "o.gpkg", **FULL_DISK)
    square = (PIXEL * 4) ** 2
    below, space, limb = features(path)[3]
    assert (below, space) == (pytest.approx(square, rel=0.01), pytest.approx(square))
    assert limb > 1.5 * square


def test_no_objects_make_an_empty_layer(tmp_path):
    path = export_labels(LabelStore((20, 20)), tmp_path / "e.gpkg", crs="EPSG:25832", transform=NORTH)
    assert features(path)[2] == []


def test_a_place_without_a_crs_is_saved_without_a_word_from_other_packages(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = export_labels(store_of(np.eye(4, dtype=np.uint32)), tmp_path / "p.gpkg", transform=NORTH)
    crs, shapes, found, areas = features(path)
    assert (found, areas) == ([1], [1.0])
    assert shapes[0].bounds == (500_000, 5_999_998, 500_002, 6_000_000)
    assert not crs or "Undefined" in crs


def test_without_map_coordinates_a_sentence_and_no_file(tmp_path):
    with pytest.raises(InputError, match="needs map coordinates"):
        export_labels(LabelStore((20, 20)), tmp_path / "e.gpkg")
    with pytest.raises(InputError, match="one plane"):
        export_labels(LabelStore((2, 20, 20)), tmp_path / "e.gpkg", crs="EPSG:25832", transform=NORTH)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [pyogrio.errors.DataSourceError, pyogrio.errors.FeatureError])
def test_a_full_disk_is_said_in_a_sentence_and_leaves_nothing(tmp_path, monkeypatch, error):
    def full(*_, **__):
        raise error("database or disk is full")

    monkeypatch.setattr(pyogrio.raw, "write", full)
    with pytest.raises(SaveError, match=r"^\S+o.gpkg could not be written \(database or disk is full\)"):
        export_labels(store_of(np.eye(4, dtype=np.uint32)), tmp_path / "o.gpkg", transform=NORTH)
    assert list(tmp_path.iterdir()) == []
