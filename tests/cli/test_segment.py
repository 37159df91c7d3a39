"""``segment``: what it writes, what it says, what it refuses."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
import tifffile
import zarr
from bright_model import bright_model
from PIL import Image

from napari_iseg.images.files import open_image

pytestmark = pytest.mark.usefixtures("bright")


def test_one_object(run, squares_file, squares, tmp_path):
    out, look = tmp_path / "mask.tif", tmp_path / "look.png"
    ended = run("segment", squares_file, "--click", "30,40", "-o", out, "--overlay", look, "--json")
    assert ended.code == 0, ended.err
    (found,) = ended.json["objects"]
    assert (found["label"], found["area"], found["box"]) == (1, 400, [20, 30, 40, 50])
    assert found["clicks"] == [[30.0, 40.0, True]]
    mask = tifffile.imread(out)
    expected = np.zeros_like(squares)
    expected[20:40, 30:50] = 1
    np.testing.assert_array_equal(mask, expected)
    picture = np.asarray(Image.open(look))
    assert picture.shape == (96, 128, 3)
    assert (picture[20, 30:50] != picture[2, 2]).any(), "the outline is drawn"


def test_each_click_is_an_object(run, squares_file, tmp_path):
    out = tmp_path / "labels.png"
    ended = run("segment", squares_file, "--each", "--click", "30,40", "--click", "70,100", "-o", out)
    assert ended.code == 0, ended.err
    assert "object 2" in ended.out
    labels = np.asarray(Image.open(out))
    assert (labels[30, 40], labels[70, 100], labels[0, 0]) == (1, 2, 0)


def test_background_takes_away(run, squares_file, tmp_path):
    out = tmp_path / "mask.tif"
    clicks = ["--click", "70,100", "--background", "64,94"]
    assert run("segment", squares_file, *clicks, "-o", out).code == 0
    mask = tifffile.imread(out)
    assert mask[70, 107] == 1
    assert mask[64, 94] == 0


@pytest.mark.parametrize(
    ("flag", "looks"), [(None, [2, 2]), ("--flip", [4, 2]), ("--no-flip", [2, 1])], ids=str
)
def test_no_flip_means_every_click(run, squares_file, tmp_path, monkeypatch, flag, looks):
    """Two squares at the first click and one window later, mirrored from the second click on by the card."""
    seen: list[int] = []
    found = bright_model().with_inference(
        window="scale-search", search_sides=(32, 64), search_widen=(), search_flip=True
    )
    found.net.register_forward_hook(lambda net, given, logits: seen.append(len(logits)))
    monkeypatch.setattr("napari_iseg.weights.store.load_model", lambda *_, **__: found)
    clicks = ["--click", "70,100", "--background", "64,94"]
    flags = [] if flag is None else [flag]
    assert run("segment", squares_file, *clicks, *flags, "-o", tmp_path / "mask.tif").code == 0
    assert seen == looks


def test_plane_of_a_stack(run, squares, tmp_path):
    path, out = tmp_path / "stack.tif", tmp_path / "mask.tif"
    stack = np.stack([squares * 0, squares, squares * 0])
    tifffile.imwrite(path, stack, photometric="minisblack", metadata={"axes": "ZYX"})
    ended = run("segment", path, "--click", "30,40", "-o", out)
    assert ended.code == 2
    assert "--plane 0" in ended.err
    assert run("segment", path, "--plane", "1", "--click", "30,40", "-o", out).code == 0
    labels = tifffile.imread(out)
    assert labels.shape == (3, 96, 128)
    assert [int(plane.sum()) for plane in labels] == [0, 400, 0]


def test_bands_are_counted_from_1(run, squares, tmp_path):
    path, out = tmp_path / "bands.tif", tmp_path / "mask.tif"
    noise = np.random.default_rng(0).integers(0, 255, squares.shape).astype(np.uint8)
    image = np.stack([noise, noise.T.reshape(squares.shape), noise, noise, squares], -1)
    tifffile.imwrite(path, image, photometric="minisblack", planarconfig="contig")
    ended = run("segment", path, "--bands", "5", "--click", "30,40", "-o", out, "--json")
    assert ended.code == 0, ended.err
    assert ended.json["objects"][0]["area"] == 400
    out = tmp_path / "none.tif"
    ended = run("segment", path, "--bands", "0,1,2", "--click", "30,40", "-o", out)
    assert ended.code == 2
    assert "counted from 1" in ended.err
    ended = run("segment", path, "--bands", "1,2,3,4", "--click", "30,40", "-o", out)
    assert ended.code == 2
    assert "one to three, counted from 1" in ended.err


def test_the_bands_that_a_file_calls_its_colours_are_looked_at(run, squares, tmp_path):
    path, out = tmp_path / "bgr.tif", tmp_path / "mask.tif"
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (*squares.shape, 5)).astype(np.uint8)
    image[..., 2:] = squares[..., None]  # its colours show the squares, the first two bands only noise
    items = "".join(
        f'<Item name="COLORINTERP" sample="{i}" role="colorinterp">{name}</Item>'
        for i, name in enumerate(("Undefined", "Undefined", "Blue", "Green", "Red"))
    )
    tags = [(42112, 2, 0, f"<GDALMetadata>{items}</GDALMetadata>", False)]
    tifffile.imwrite(
        path, image, photometric="minisblack", planarconfig="contig", extratags=tags, metadata=None
    )
    ended = run("segment", path, "--click", "30,40", "-o", out, "--json")
    assert ended.code == 0, ended.err
    assert ended.json["objects"][0]["area"] == 400


def test_pixel_size_goes_from_image_to_mask(run, squares, tmp_path):
    path, out = tmp_path / "sized.tif", tmp_path / "mask.ome.tif"
    size = {"PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm", "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm"}
    tifffile.imwrite(path, squares, ome=True, metadata={"axes": "YX"} | size)
    assert run("segment", path, "--click", "30,40", "-o", out).code == 0
    opened = open_image(out)
    assert opened.scale == (0.5, 0.25)
    assert opened.axes == ("y", "x")


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--click", "300,40"], "outside the image of 96 x 128"),
        (["--click", "30"], "--click 120,88"),
        (["--click", "30,40", "--background", "a,b"], "--background 30,40"),
        (["--click", "nan,40"], "finite"),
        (["--click", "7,62", "--background", "7,62"], "select nothing"),
        (["--each", "--click", "30,40", "--click", "31,41"], "lies on objects before it"),
        (["--click", "30,40", "-o", "nowhere/mask.tif"], "does not exist"),
        (["--click", "30,40", "-o", "mask.jpg"], ".tif"),
        (["--click", "30,40", "--overlay", "look.tif"], ".png"),
        (["--click", "30,40", "--plane", "2"], "squares.tif is a single plane, no stack; leave --plane out."),
        (["--click", "30,40", "--plane", "inf"], "--plane 'inf' needs whole numbers"),
        (["--click", "30,40", "--plane", "nan"], "--plane 'nan' needs whole numbers"),
        (["--click", "30,40", "--bands", "1"], "one channel"),
        (["--click", "30,40", "-o", "mask.png", "--overlay", "./mask.png"], "both labels and overlay"),
        (["--click", "30,40", "--embeddings-limit", "abc"], "--embeddings-limit 'abc'"),
    ],
)
def test_refusals_write_nothing(run, squares_file, tmp_path, monkeypatch, extra, words):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    ended = run("segment", squares_file, *extra)
    assert ended.code == 2, ended.err
    assert words in ended.err
    assert sorted(tmp_path.iterdir()) == before


def test_an_empty_image_is_said_to_be_empty(run, tmp_path):
    zarr.open(tmp_path / "none.zarr", mode="w", shape=(0, 20), dtype="u1")
    ended = run("segment", tmp_path / "none.zarr", "--click", "0,0", "-o", tmp_path / "mask.tif")
    assert ended.code == 2
    assert "none.zarr is empty" in ended.err
    assert not (tmp_path / "mask.tif").exists()


@pytest.mark.parametrize("there", ["mask.tif", "look.png"])
def test_results_that_exist_are_replaced_on_demand_only(run, squares_file, tmp_path, monkeypatch, there):
    (tmp_path / there).write_bytes(b"mine")
    asked = ["segment", squares_file, "-c", "30,40", "-o", tmp_path / "mask.tif"]
    asked += ["--overlay", tmp_path / "look.png"]
    with monkeypatch.context() as early:
        early.setattr("napari_iseg.images.files.open_image", lambda *_: pytest.fail("work was begun"))
        ended = run(*asked)
    assert ended.code == 2
    assert f"{tmp_path / there} exists already; give --overwrite to replace it" in ended.err
    assert (tmp_path / there).read_bytes() == b"mine"
    assert run(*asked, "--overwrite").code == 0
    assert tifffile.imread(tmp_path / "mask.tif").sum() == 400
    assert np.asarray(Image.open(tmp_path / "look.png")).shape == (96, 128, 3)


def test_never_over_the_image(run, squares_file, squares):
    ended = run("segment", squares_file, "--click", "30,40", "-o", squares_file)
    assert ended.code == 2
    assert "the image itself" in ended.err
    np.testing.assert_array_equal(tifffile.imread(squares_file), squares)


def test_an_unwritable_place_is_refused_before_any_work(run, squares_file, monkeypatch):
    monkeypatch.setattr("os.access", lambda _, mode: mode != os.W_OK)
    monkeypatch.setattr("napari_iseg.images.files.open_image", lambda *_: pytest.fail("work was begun"))
    ended = run("segment", squares_file, "--click", "30,40", "-o", squares_file.with_name("out.tif"))
    assert ended.code == 2
    assert "cannot be written to" in ended.err


GEO_KEYS = [(34735, 3, 8, (1, 1, 0, 1, 1024, 0, 1, 1), False)]


@pytest.mark.parametrize(
    ("shape", "name", "there", "words"),
    [
        ((96, 128), "out.tif", None, "napari-iseg[geo]"),
        ((3, 96, 128), "out.png", None, "one plane"),
        ((96, 128), "out.zarr", "notes.txt", "holds no labels"),
    ],
)
def test_what_could_not_be_exported_is_refused_before_any_work(
    run, tmp_path, monkeypatch, shape, name, there, words
):
    image, out = tmp_path / "scene.tif", tmp_path / name
    tifffile.imwrite(image, np.zeros(shape, np.uint8), photometric="minisblack", extratags=GEO_KEYS)
    if there is not None:
        out.mkdir()
        (out / there).touch()
    monkeypatch.setitem(sys.modules, "rasterio", None)
    monkeypatch.setattr(
        "napari_iseg.weights.store.load_model", lambda *_, **__: pytest.fail("work was begun")
    )
    plane = ["--plane", "0"] * (len(shape) - 2)
    ended = run("segment", image, "--click", "30,40", *plane, "-o", out, "--overwrite")
    assert ended.code == 2
    assert words in ended.err


def test_an_unknown_model_names_the_nearest(run, squares_file, tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("NAPARI_ISEG_HOME", str(tmp_path / "home"))
    ended = run(
        "segment", squares_file, "--click", "30,40", "-m", "simpleclick-sbd-vit-bb", "-o", tmp_path / "m.tif"
    )
    assert ended.code == 2
    assert "did you mean simpleclick-sbd-vit-b" in ended.err
