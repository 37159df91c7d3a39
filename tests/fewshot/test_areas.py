"""Polygons: their pixels, from GeoJSON, as the region of a run and as where annotation is complete."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from run_fakes import GreyPredictor, blobs, sparse
from skimage.draw import polygon as draw_polygon

import napari_iseg as iseg
from napari_iseg.errors import InputError
from napari_iseg.fewshot.areas import Areas
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Window

VOLUME, TRUTH = blobs()
SCENE, CLASSES = np.tile(VOLUME[0], (8, 8)), np.tile(TRUTH[0], (8, 8))
STAR = [(30.3, 20.1), (90.7, 25.2), (60.4, 60.6), (100.2, 110.9), (20.8, 80.5)]


def geojson(path, *polygons, crs=None):
    content = {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": rings}}
            for rings in polygons
        ],
    }
    if crs:
        content["crs"] = {"type": "name", "properties": {"name": crs}}
    path.write_text(json.dumps(content))
    return path


def read(path):
    return np.asarray(LabelStore.open(path).levels[0][...])


def few(rows=48):
    labels = np.zeros_like(CLASSES)
    labels[:rows, :rows] = CLASSES[:rows, :rows]
    return labels


def test_pixels_with_their_centre_inside_as_scikit_image_says():
    whole = np.zeros((128, 128), bool)
    whole[draw_polygon(*zip(*STAR, strict=True), whole.shape)] = True
    window = Window(17, 40, 99, 120)
    np.testing.assert_array_equal(Areas.of([STAR]).mask(window), whole[window.slices])
    assert not Areas.of([STAR]).touches(Window(0, 0, 20, 128))


def test_holes_are_outside_and_polygons_that_overlap_are_one():
    square = ((-0.5, -0.5), (-0.5, 9.5), (9.5, 9.5), (9.5, -0.5))
    hole = ((2.5, 2.5), (2.5, 5.5), (5.5, 5.5), (5.5, 2.5))
    mask = Areas(((square, hole),)).mask(Window(0, 0, 12, 12))
    assert mask.sum() == 100 - 9
    assert not mask[3:6, 3:6].any()
    two = Areas.of([square, [(r + 5, c) for r, c in square]]).mask(Window(0, 0, 16, 12))
    assert two.sum() == 150


def test_geojson_without_a_map_is_in_pixels_from_the_corner(tmp_path):
    path = geojson(tmp_path / "r.geojson", [[[2, 1], [5, 1], [5, 4], [2, 4], [2, 1]]])
    mask = Areas.read(path).mask(Window(0, 0, 6, 7))
    assert np.argwhere(mask).min(0).tolist() == [1, 2]
    assert mask.sum() == 9


@pytest.mark.parametrize("crs", ["urn:ogc:def:crs:EPSG::25832", None])
def test_geojson_in_map_coordinates_lands_on_the_scenes_pixels(tmp_path, crs):
    rasterio = pytest.importorskip("rasterio")
    from rasterio.warp import transform_geom

    scene = tmp_path / "scene.tif"
    with rasterio.open(
        scene, "w", driver="GTiff", height=60, width=50, count=1, dtype="uint8", crs="EPSG:25832",
        transform=rasterio.transform.from_origin(500_000, 6_000_000, 0.5, 0.5),
    ) as target:  # fmt: skip
        target.write(np.zeros((1, 60, 50), np.uint8))
    east, north = 500_000, 6_000_000
    ring = [[east + x, north - y] for x, y in ((5, 10), (10, 10), (10, 15), (5, 15), (5, 10))]
    shape = {"type": "Polygon", "coordinates": [ring]}
    if crs is None:  # then longitude and latitude, as the format has it
        shape = transform_geom("EPSG:25832", "OGC:CRS84", shape, precision=9)
    mask = Areas.read(geojson(tmp_path / "r.geojson", shape["coordinates"], crs=crs), scene).mask(
        Window(0, 0, 60, 50)
    )
    expected = np.zeros((60, 50), bool)
    expected[20:30, 10:20] = True
    assert (mask != expected).sum() <= (0 if crs else 20), "reprojected corners may miss a border by a hair"


def test_map_coordinates_without_a_crs_are_asked_about(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    place = rasterio.transform.from_origin(500_000, 6_000_000, 0.5, 0.5)
    options = {"height": 9, "width": 9, "count": 1, "dtype": "uint8", "crs": "EPSG:25832", "transform": place}
    with rasterio.open(tmp_path / "scene.tif", "w", driver="GTiff", **options) as target:
        target.write(np.zeros((1, 9, 9), np.uint8))
    corners = [[500_000, 6_000_000], [500_004, 6_000_000], [500_004, 5_999_996]]
    with pytest.raises(InputError, match="name no CRS and their numbers are no longitudes and latitudes"):
        Areas.read(geojson(tmp_path / "r.geojson", [corners]), tmp_path / "scene.tif")


def test_bad_geojson_is_a_sentence(tmp_path):
    path = tmp_path / "r.geojson"
    with pytest.raises(InputError, match="could not be read"):
        Areas.read(path)
    for text in ("no", "[1]", '{"type": "Feature"}'):
        path.write_text(text)
        with pytest.raises(InputError, match="no GeoJSON"):
            Areas.read(path)
    path.write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(InputError, match="no polygon"):
        Areas.read(path)
    with pytest.raises(InputError, match="three corners"):
        Areas.of([[(0, 0), (1, 1)]])
    with pytest.raises(InputError, match=r"Polygons are a list, each of .*, got None"):
        Areas.of(None)
    with pytest.raises(InputError, match="path is the name of a file, got None"):
        Areas.read(None)


def test_map_coordinates_are_never_taken_for_pixels(tmp_path):
    path, plain = geojson(tmp_path / "r.geojson", [RING], crs="EPSG:25832"), tmp_path / "plain.png"
    plain.touch()
    with pytest.raises(InputError, match=r"There is no image at .*scen\.tif; check the path"):
        Areas.read(path, tmp_path / "scen.tif")
    with pytest.raises(InputError, match=r"a CRS \(EPSG:25832\) but plain\.png has no map coordinates"):
        Areas.read(path, plain)
    with pytest.raises(InputError, match=r"but no image is given \(like=...\)"):
        Areas.read(path)
    assert Areas.read(geojson(path, [RING]), plain) == Areas.read(path)


def layers(path, crs, **named):
    """A file of a square per layer, in (x, y)."""
    pyogrio, shapely = pytest.importorskip("pyogrio"), pytest.importorskip("shapely")
    for name, shape in named.items():
        pyogrio.raw.write(
            path, np.array([shapely.to_wkb(shape)], object), [np.array([1])], ["id"], layer=name, crs=crs,
            geometry_type=shape.geom_type, append=path.exists(),
        )  # fmt: skip
    return path


@pytest.mark.parametrize("suffix", [".gpkg", ".shp"])
def test_polygons_of_other_kinds_of_files_land_where_geojson_does(tmp_path, suffix):
    rasterio, shapely = pytest.importorskip("rasterio"), pytest.importorskip("shapely")
    place = rasterio.transform.from_origin(500_000, 6_000_000, 0.5, 0.5)
    options = {
        "height": 60,
        "width": 50,
        "count": 1,
        "dtype": "uint8",
        "crs": "EPSG:25832",
        "transform": place,
    }
    with rasterio.open(tmp_path / "scene.tif", "w", driver="GTiff", **options) as target:
        target.write(np.zeros((1, 60, 50), np.uint8))
    square = shapely.box(500_005, 5_999_985, 500_010, 5_999_990)
    # stated in another CRS than the image's
    there = rasterio.warp.transform_geom("EPSG:25832", "EPSG:4326", square, precision=9)
    path = layers(tmp_path / f"aoi{suffix}", "EPSG:4326", aoi=shapely.geometry.shape(there))
    mask = Areas.read(path, tmp_path / "scene.tif").mask(Window(0, 0, 60, 50))
    expected = np.zeros((60, 50), bool)
    expected[20:30, 10:20] = True
    assert (mask != expected).sum() <= 20, "reprojected corners may miss a border by a hair"


def test_other_kinds_of_files_are_refused_in_a_sentence(tmp_path, monkeypatch):
    shapely = pytest.importorskip("shapely")
    path = layers(tmp_path / "two.gpkg", "EPSG:4326", a=shapely.box(0, 0, 9, 9), b=shapely.box(0, 0, 5, 5))
    with pytest.raises(InputError, match=r"two\.gpkg holds several layers \(a, b\)"):
        Areas.read(path)
    with pytest.raises(InputError, match="holds no polygon"):
        Areas.read(layers(tmp_path / "line.gpkg", None, a=shapely.LineString([(0, 0), (1, 1)])))
    monkeypatch.setitem(sys.modules, "pyogrio", None)
    with pytest.raises(InputError, match=r"no GeoJSON file of polygons.*napari-iseg\[geo\]"):
        Areas.read(path)


RING = [[0, 0], [9, 0], [9, 9], [0, 0]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"crs": "EPSG:4326"}, "does not state its CRS by name"),
        ({"crs": {"type": "link", "properties": {"href": "x"}}}, "does not state its CRS by name"),
        ({"coordinates": []}, "holds no polygon"),
        ({"coordinates": RING}, "no GeoJSON file of polygons"),
        ({"coordinates": [[["a", "b"], ["c", "d"], ["e", "f"]]]}, "no GeoJSON file of polygons"),
        ({"coordinates": [[[1], [2], [3]]]}, "no GeoJSON file of polygons"),
    ],
    ids=repr,
)
def test_odd_geojson_is_a_sentence(tmp_path, change, words):
    path = tmp_path / "r.geojson"
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [RING]} | change))
    with pytest.raises(InputError, match=words):
        Areas.read(path)


def test_geojson_of_every_program_is_taken(tmp_path):
    path = tmp_path / "r.geojson"
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [RING]}))
    plain = Areas.read(path)
    path.write_text(
        json.dumps({"type": "MultiPolygon", "coordinates": [[], [RING]], "crs": None}), "utf-8-sig"
    )
    assert Areas.read(path) == plain


def test_a_run_works_in_its_polygon_and_leaves_the_rest_alone(tmp_path):
    model, out = GreyPredictor(), tmp_path / "out.zarr"
    area = Areas.of([[(60, 60), (60, 130), (130, 95)]])
    inside = area.mask(Window.of_shape(SCENE.shape))
    labels, options = few(), {"tile": 64, "halo": 8, "complete": False}
    first = iseg.propagate(SCENE, labels, out, model, region=area, **options)
    found = read(out)
    np.testing.assert_array_equal(found[inside], CLASSES[inside])
    assert not found[~inside & (labels == 0)].any()
    assert first.units < 16
    assert (first.computed, first.kept) == (first.units, 0)
    assert first.predictions > first.units, "those of the neighbours, whose windows reach into the polygon"
    again = iseg.propagate(SCENE, labels, out, model, region=area, existing="resume", **options)
    assert again.computed == 0
    other = Areas.of([[(100, 20), (160, 20), (160, 90), (100, 90)]])
    iseg.propagate(SCENE, labels, out, model, region=other, existing="resume", **options)
    both = inside | other.mask(Window.of_shape(SCENE.shape))
    np.testing.assert_array_equal(read(out)[both], CLASSES[both])
    assert not read(out)[~both & (labels == 0)].any()
    iseg.propagate(SCENE, labels, out, model, existing="resume", **options)
    np.testing.assert_array_equal(read(out), CLASSES)


def test_probabilities_outside_the_polygon_stay_too(tmp_path):
    import zarr

    area = Areas.of([[(5, 5), (5, 20), (20, 20), (20, 5)]])
    out = tmp_path / "out.zarr"
    iseg.propagate(VOLUME, sparse(TRUTH, 0), out, GreyPredictor(), region=area, probability=True)
    kept = np.asarray(zarr.open_group(out)["probability"][:, 3])
    inside = area.mask(Window(0, 0, 24, 24))
    assert not kept[:, ~inside].any()
    assert kept[:, inside].any()


def test_a_polygon_beside_the_image_is_a_sentence(tmp_path):
    with pytest.raises(InputError, match="beside the image"):
        iseg.propagate(
            VOLUME, sparse(TRUTH, 0), tmp_path / "o.zarr", GreyPredictor(),
            region=Areas.of([[(90, 90), (90, 95), (95, 95)]]),
        )  # fmt: skip


def test_unlabelled_pixels_are_background_only_where_the_annotation_is_complete(tmp_path):
    seen = []

    class Watching(GreyPredictor):
        def predict_unit(self, image, position, supports, labels, previous=None):
            seen.extend(supports)
            return super().predict_unit(image, position, supports, labels, previous)

    area = Areas.of([[(-0.5, -0.5), (-0.5, 29.5), (29.5, 29.5), (29.5, -0.5)]])
    labels = few()
    iseg.propagate(SCENE, labels, tmp_path / "o.zarr", Watching(), complete=area, tile=64, halo=8)
    mask = next(s.mask for s in seen if s.key == "scene@0,0")
    here = labels[:64, :64]
    assert (mask[here > 0] == here[here > 0]).all()
    zeros = here == 0
    assert (mask[:30, :30][zeros[:30, :30]] == 0).all()
    assert (mask[30:][zeros[30:]] == -1).all()


def test_from_the_command_line(tmp_path):
    import tifffile

    from napari_iseg.cli import main

    tifffile.imwrite(tmp_path / "v.tif", VOLUME)
    tifffile.imwrite(tmp_path / "l.tif", sparse(TRUTH, 0, 4).astype(np.uint8))
    region = geojson(tmp_path / "r.geojson", [[[0, 0], [12, 0], [12, 24], [0, 24], [0, 0]]])
    main([
        "propagate", str(tmp_path / "v.tif"), str(tmp_path / "l.tif"), str(tmp_path / "o.zarr"),
        "--model", "interpolation", "--region", str(region),
    ])  # fmt: skip
    found = read(tmp_path / "o.zarr")
    assert found[2][:, :12].any()
    assert not found[2][:, 12:].any()
