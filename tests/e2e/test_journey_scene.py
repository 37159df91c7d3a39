"""A remote-sensing analyst's sitting: a GeoTIFF, two classes in a few tiles, the rest, polygons on the map.

The scene is made so that a classifier of colours is right everywhere: what is tested is the journey, not a
network. Houses stand across borders of tiles on purpose.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import napari_iseg as iseg
from napari_iseg.fewshot.control import Control, Written
from napari_iseg.labels.export import export_labels
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Window

sys.path.insert(0, str(Path(__file__).parents[1] / "fewshot"))

from run_fakes import GreyPredictor

rasterio = pytest.importorskip("rasterio")
pyogrio = pytest.importorskip("pyogrio")
shapely = pytest.importorskip("shapely")

SHAPE, PIXEL, EAST, NORTH = (330, 410), 0.25, 691_000.0, 5_335_000.0
BUILDING, FIELD = 1, 2
TILE = {"tile": 128, "halo": 16}


def scene_and_truth() -> tuple[np.ndarray, np.ndarray]:
    """Grey ground, bright roofs, darker fields; (rows, cols, 3) uint8 and classes."""
    truth = np.zeros(SHAPE, np.uint8)
    for top in range(10, 300, 48):  # every 48 pixels: many roofs stand across a border of the 96 pixel cores
        for left in range(6, 380, 48):
            truth[top : top + 20, left : left + 24] = BUILDING if (top + left) % 5 else FIELD
    picture = np.full(SHAPE, 60, np.uint8)
    picture[truth == BUILDING], picture[truth == FIELD] = 220, 130
    return np.repeat(picture[..., None], 3, axis=2), truth


IMAGE, TRUTH = scene_and_truth()
PLACES = [(r, c) for r in (0, 96, 192) for c in (0, 96, 192, 288)]  # complete tiles, where annotation lies


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "town.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=SHAPE[0], width=SHAPE[1], count=3, dtype="uint8", tiled=True,
        blockxsize=128, blockysize=128, crs="EPSG:25832", photometric="RGB",
        transform=rasterio.transform.from_origin(EAST, NORTH, PIXEL, PIXEL),
    ) as target:  # fmt: skip
        target.write(np.moveaxis(IMAGE, -1, 0))
    return path


def on_map(path: Path, *corners: tuple[float, float]) -> Path:
    """A polygon as a GIS exports it, from (row, col) corners of pixels."""
    ring = [[EAST + col * PIXEL, NORTH - row * PIXEL] for row, col in (*corners, corners[0])]
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::25832"}}
    content = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "crs": crs}
    path.write_text(json.dumps(content))
    return path


def annotated() -> np.ndarray:
    """Twelve corners of the scene, each with what stands in it."""
    labels = np.zeros(SHAPE, np.uint8)
    for row, col in PLACES:
        labels[row : row + 40, col : col + 40] = TRUTH[row : row + 40, col : col + 40]
    return labels


def complete() -> iseg.Areas:
    """Where the annotation is complete: those corners."""
    return iseg.Areas.of(
        [
            [(r - 0.5, c - 0.5), (r - 0.5, c + 39.5), (r + 39.5, c + 39.5), (r + 39.5, c - 0.5)]
            for r, c in PLACES
        ]
    )


def result(path: Path) -> np.ndarray:
    return np.asarray(LabelStore.open(path).levels[0][...])


def features(path: Path) -> tuple[Any, list[Any], list[int], np.ndarray]:
    meta, _, wkb, fields = pyogrio.raw.read(path)
    named = dict(zip(meta["fields"], fields, strict=True))
    return meta["crs"], list(shapely.from_wkb(wkb)), named["label"].tolist(), named["area_m2"]


def test_polygon_stop_change_resume_export(scene, tmp_path):
    area = iseg.Areas.read(
        on_map(tmp_path / "aoi.geojson", (20, 30), (300, 60), (310, 380), (40, 330)), scene
    )
    inside = area.mask(Window.of_shape(SHAPE))
    out, model, labels = tmp_path / "town.zarr", GreyPredictor(), annotated()
    options: dict[str, Any] = {"region": area, "complete": complete(), "existing": "resume", **TILE}

    # started, and stopped after three tiles: they stay
    control, written = Control(), []

    def listen(entry: Any) -> None:
        if isinstance(entry, Written):
            written.append(entry.window)
            if len(written) == 3:
                control.cancel()

    stopped = iseg.propagate(IMAGE, labels, out, model, control=control, listener=listen, rgb=True, **options)
    assert stopped.cancelled
    assert 0 < stopped.computed < stopped.units
    partly = result(out)
    assert all(partly[window.slices].any() for window in written)

    # resumed: what was done is not done again, and the end is that of a run never stopped
    model.calls.clear()
    resumed = iseg.propagate(IMAGE, labels, out, model, rgb=True, **options)
    assert not resumed.cancelled
    assert resumed.kept >= 3
    fresh = tmp_path / "fresh.zarr"
    iseg.propagate(IMAGE, labels, fresh, GreyPredictor(), rgb=True, **options)
    np.testing.assert_array_equal(result(out), result(fresh))

    # inside everything is found, outside nothing but the annotation: never everything, never nothing
    found = result(out)
    assert (found[inside] == TRUTH[inside]).mean() > 0.999
    assert not found[~inside & (labels == 0)].any()

    # nothing changed: nothing is computed; a class is changed: annotation wins, and is kept
    assert iseg.propagate(IMAGE, labels, out, model, rgb=True, **options).computed == 0
    wrong = np.zeros_like(inside)
    wrong[96:136, 96:136] = labels[96:136, 96:136] == BUILDING
    assert wrong.any()
    assert inside[wrong].all()
    labels[wrong] = FIELD
    changed = iseg.propagate(IMAGE, labels, out, model, rgb=True, **options)
    assert changed.computed > 0
    assert (result(out)[wrong] == FIELD).all()


def test_one_polygon_per_building_in_place(scene, tmp_path):
    out = tmp_path / "town.zarr"
    iseg.propagate(IMAGE, annotated(), out, GreyPredictor(), complete=complete(), rgb=True, **TILE)
    np.testing.assert_array_equal(result(out), TRUTH)
    path = export_labels(LabelStore.open(out), tmp_path / "town.gpkg", like=scene, pieces=True)
    crs, shapes, labels, areas = features(path)
    assert rasterio.crs.CRS.from_user_input(crs).to_epsg() == 25832
    for label in (BUILDING, FIELD):
        pieces, count = ndimage.label(np.equal(TRUTH, label))
        own = [
            (shape, area) for shape, area, is_of in zip(shapes, areas, labels, strict=True) if is_of == label
        ]
        assert len(own) == count, "a house cut at a seam would be two"
        pixels = np.bincount(pieces.ravel())[1:]
        assert sorted(area for _, area in own) == sorted(pixels * PIXEL**2)
        assert all(len(shape.exterior.coords) == 5 for shape, _ in own), "a rectangle has four corners"
    first = next(s for s in shapes if s.bounds[0] == EAST + 6 * PIXEL and s.bounds[3] == NORTH - 10 * PIXEL)
    assert first.bounds == (EAST + 6 * PIXEL, NORTH - 30 * PIXEL, EAST + 30 * PIXEL, NORTH - 10 * PIXEL)
    geotiff = export_labels(LabelStore.open(out), tmp_path / "classes.tif", like=scene)
    with rasterio.open(geotiff) as opened:
        assert opened.crs.to_epsg() == 25832
        np.testing.assert_array_equal(opened.read(1), TRUTH)


def test_only_what_depends_on_a_change_is_done_again(tmp_path):
    """With more annotated tiles than one answer is made from, a change at one end leaves the other alone."""
    image, truth = np.tile(IMAGE, (1, 8, 1)), np.tile(TRUTH, (1, 8))
    labels, model, out = np.tile(annotated(), (1, 8)), GreyPredictor(), tmp_path / "long.zarr"
    first = iseg.propagate(image, labels, out, model, complete=False, rgb=True, **TILE)
    model.calls.clear()
    labels[:40, :40] = 0
    labels[2:6, 2:6] = BUILDING
    again = iseg.propagate(image, labels, out, model, complete=False, existing="resume", rgb=True, **TILE)
    assert 0 < again.computed < first.computed / 2
    assert len(model.calls) == again.predictions
    assert again.units == again.computed + again.kept
    assert (result(out)[:, 2000:] == truth[:, 2000:]).mean() > 0.99


def test_the_same_from_the_command_line(scene, tmp_path, capfd):
    from napari_iseg.cli import main

    labels = tmp_path / "some.tif"
    with rasterio.open(scene) as source:
        place = source.profile | {"count": 1, "photometric": "minisblack"}
    with rasterio.open(labels, "w", **place) as target:
        target.write(annotated(), 1)
    aoi = on_map(tmp_path / "aoi.geojson", (0, 0), (0, 200), (110, 200), (110, 0))
    main([
        "propagate", str(scene), str(labels), str(tmp_path / "o.zarr"), "--region", str(aoi), "--partial",
        "--tile", "128", "--halo", "16", "--device", "cpu", "--threads", "1", "--model", "training-free",
        "--json",
    ])  # fmt: skip
    said = json.loads(capfd.readouterr().out)
    assert said["units"] == 6
    found = result(tmp_path / "o.zarr")
    assert not found[110:][annotated()[110:] == 0].any()
    assert found[:110, :200].any()
    with pytest.raises(SystemExit) as ended:
        main(["propagate", str(scene), str(labels), str(tmp_path / "p.zarr"), "--region", "none.geojson"])
    assert ended.value.code == 2
    assert "There is no file none.geojson" in " ".join(capfd.readouterr().err.split())
