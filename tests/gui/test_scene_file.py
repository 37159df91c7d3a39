"""A GeoTIFF from the menu: colours, coordinates, north up, clicks that lie where they were made."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from napari_iseg.cli.bands import typed_channels
from napari_iseg.cli.propagate import open_plane_source
from napari_iseg.images.files import open_image
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Window
from napari_iseg.widgets.fewshot_request import Opened
from napari_iseg.widgets.fewshot_saving import save
from napari_iseg.widgets.origin import Origin
from napari_iseg.widgets.scene_file import add_scene, read_bands, scene_opener, values_of

from .napari_versions import camera_of
from .test_scenes import check_click

NORTH, WEST, STEP = 5_300_000.0, 500_000.0, 0.5


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "town.tif"
    rng = np.random.default_rng(0)
    tags = [
        (33550, 12, 3, (STEP, STEP, 0.0), False),
        (33922, 12, 6, (0.0, 0.0, 0.0, WEST, NORTH, 0.0), False),
        (34735, 3, 8, (1, 1, 0, 1, 1024, 0, 1, 1), False),
    ]
    tifffile.imwrite(
        path, rng.integers(0, 4000, (120, 100, 4), np.uint16), photometric="minisblack",
        planarconfig="contig", tile=(64, 64), extratags=tags, metadata=None,
    )  # fmt: skip
    return path


def test_a_scene_lies_on_the_map_with_north_up(bench, scene):
    layer = add_scene(bench.viewer, scene, (2, 1, 0))
    assert layer.rgb
    np.testing.assert_allclose(layer.data_to_world((0, 0)), (NORTH - STEP / 2, WEST + STEP / 2))
    np.testing.assert_allclose(layer.data_to_world((119, 0))[0], NORTH - 119.5 * STEP)
    assert tuple(str(side) for side in camera_of(bench.viewer).orientation2d) == ("up", "right")
    assert layer.source.path == str(scene)


def test_clicks_lie_where_they_were_made(bench, scene):
    layer = add_scene(bench.viewer, scene)
    bench.open()
    check_click(bench, layer, (70, 30))


@pytest.fixture
def turned(tmp_path: Path) -> Path:
    """A raster whose rows go south-east."""
    path, keys = tmp_path / "turned.tif", (1, 1, 0, 1, 1024, 0, 1, 1)
    matrix = (0.4, 0.3, 0, WEST, 0.3, -0.4, 0, NORTH, 0, 0, 0, 0, 0, 0, 0, 1)
    tags = [(34264, 12, 16, matrix, False), (34735, 3, len(keys), keys, False)]
    pixels = np.random.default_rng(0).integers(0, 255, (120, 100, 3), np.uint8)
    tifffile.imwrite(path, pixels, photometric="rgb", extratags=tags, metadata=None)
    return path


def test_a_turned_scene_lies_on_the_map_and_is_clicked_there(bench, turned):
    layer = add_scene(bench.viewer, turned)
    np.testing.assert_allclose(layer.data_to_world((-0.5, -0.5)), (NORTH, WEST))
    np.testing.assert_allclose(layer.data_to_world((9.5, -0.5)), (NORTH - 4, WEST + 3))
    assert str(camera_of(bench.viewer).orientation2d[0]) == "up"
    bench.open()
    check_click(bench, layer, (70, 30))


@pytest.mark.parametrize(("ending", "told"), [("tif", False), ("zarr", True)])
def test_a_result_of_a_turned_scene_is_on_the_map_where_its_file_can_say_so(
    bench, turned, tmp_path, ending, told
):
    layer, said = add_scene(bench.viewer, turned), []
    LabelStore((120, 100), path=tmp_path / "out.zarr").flush()
    at_once = SimpleNamespace(submit_task=lambda work, done, _failed: done(work(None)))
    view, frame = SimpleNamespace(set_status=said.append), SimpleNamespace(shape=(120, 100))
    save(tmp_path / "out.zarr", tmp_path / f"saved.{ending}", layer, frame, at_once, view)
    assert ("rotation or affine is not in it" in said[-1]) == told
    np.testing.assert_allclose(LabelStore.open(tmp_path / "out.zarr").space.scale, (-0.5, 0.5))


def test_pictures_that_stand_upside_down_beside_a_map_are_named(bench, scene, turned, tmp_path, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr("napari_iseg.widgets.scene_file.warn", said.append)
    bench.viewer.add_image(np.zeros((20, 30)), name="photo")
    add_scene(bench.viewer, scene)
    assert len(said) == 1
    assert "Upside down beside a map, whose north is up: photo. What has" in said[0]
    add_scene(bench.viewer, turned)
    assert len(said) == 1
    tifffile.imwrite(tmp_path / "plain.tif", np.zeros((20, 30), np.uint8))
    add_scene(bench.viewer, tmp_path / "plain.tif")
    assert len(said) == 2
    assert "is up: plain. What has" in said[1]


def test_a_session_finds_its_scene_and_bands_again(bench, scene):
    layer = add_scene(bench.viewer, scene, (3, 2, 1))
    known = Origin.of_layer(layer)
    shape = tuple(layer.data.shape[:2])
    bench.viewer.layers.clear()
    again = Origin(known.name, known.path, known.reader, shape=shape).open_in(bench.viewer)
    np.testing.assert_array_equal(np.asarray(again.data), np.asarray(layer.data))
    assert Origin.of_layer(again) == known


def test_few_shot_sees_a_scene_as_the_command_line_does(bench, scene):
    layer = add_scene(bench.viewer, scene, (3, 2, 1))
    shown = Opened.of(layer, None).source
    typed = open_plane_source(scene, typed_channels(open_image(scene), "4,3,2"), None)
    window = Window(10, 20, 90, 70)
    np.testing.assert_array_equal(shown.read(window), typed.read(window))  # not in 256 steps
    (shown,) = bench.viewer.layers[0].data if layer.multiscale else (layer.data,)
    layer.data = shown + 0  # other pixels than the file's
    assert values_of(layer) is None
    layer.data = shown
    assert values_of(layer) is not None
    scene.unlink()
    assert values_of(layer) is None


@pytest.mark.parametrize(
    ("names", "bands"), [(("Blue", "Green", "Red", "Undefined"), [2, 1, 0]), ((), [0, 1, 2])]
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_four_bands_side_by_side_are_seen_alike_everywhere(bench, tmp_path, names, bands, dtype):
    path, items = tmp_path / "four.tif", ""
    for index, name in enumerate(names):
        items += f'<Item name="COLORINTERP" sample="{index}" role="colorinterp">{name}</Item>'
    tags = [(42112, 2, 0, f"<GDALMetadata>{items}</GDALMetadata>", False)] if names else []
    pixels = np.random.default_rng(1).integers(0, 200, (120, 100, 4)).astype(dtype)
    tifffile.imwrite(path, pixels, photometric="rgb", planarconfig="contig", extratags=tags, metadata=None)
    layer, window = add_scene(bench.viewer, path), Window(10, 20, 90, 70)
    typed = open_plane_source(path, typed_channels(open_image(path)), None).read(window)
    np.testing.assert_array_equal(Opened.of(layer, None).source.read(window), typed)
    picture = np.asarray(layer.data)[10:90, 20:70]
    np.testing.assert_allclose(picture / 255, typed, atol=0.51 / 255)
    for shown, band in enumerate(bands):
        there = pixels[10:90, 20:70, band].ravel().astype(float)
        assert np.corrcoef(picture[..., shown].ravel(), there)[0, 1] > 0.99


def test_the_menu_s_form_opens_or_says_why_not(bench, scene, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr("napari_iseg.widgets.scene_file.show_error", said.append)
    form = scene_opener()
    form.viewer.choices = [bench.viewer]
    form.viewer.value = bench.viewer
    form()
    assert said == ["Choose a file first."]
    form.scene.value, form.bands.value = scene, "9,2,1"
    form()
    assert "has 4 band(s)" in said[-1]
    form.bands.value = "red"
    form()
    assert "numbers from 1 on" in said[-1]
    assert not bench.viewer.layers
    form.bands.value = ""
    form()
    assert [each.name for each in bench.viewer.layers] == ["town"]


def test_the_form_takes_the_address_that_a_desktop_copies(bench, scene):
    form = scene_opener()
    form.viewer.choices = [bench.viewer]
    form.viewer.value = bench.viewer
    spaced = scene.rename(scene.with_name("the town.tif"))
    form.scene.line_edit.value = spaced.as_uri()  # a path has one slash of three left
    form()
    assert [each.source.path for each in bench.viewer.layers] == [str(spaced)]


def test_bands_are_counted_from_one():
    assert read_bands("3, 2,1") == (2, 1, 0)
    assert read_bands("  ") is None
