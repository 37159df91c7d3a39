"""Where ``napari-iseg segment`` writes: what cannot be is found out first, and nothing false is said."""

from __future__ import annotations

import errno
import os
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_iseg.cli.common import print_json
from napari_iseg.errors import SaveError


@pytest.fixture
def no_work(monkeypatch):
    monkeypatch.setattr("napari_iseg.images.files.open_image", lambda *_: pytest.fail("work was begun"))


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
@pytest.mark.parametrize(
    ("option", "name"),
    [("-o", "d.tif"), ("-o", "d.png"), ("-o", "d.gpkg"), ("-o", "d.geojson"), ("--overlay", "d.png")],
)
def test_a_folder_is_refused_before_any_work(run, squares_file, tmp_path, no_work, option, name, overwrite):
    (tmp_path / name).mkdir()
    output = () if option == "-o" else ("-o", tmp_path / "o.tif")
    ended = run("segment", squares_file, "-c", "30,40", *output, option, tmp_path / name, *overwrite)
    assert ended.code == 2
    assert f"{tmp_path / name} is a folder; choose another name." in ended.err


def test_a_link_into_a_folder_that_is_missing_is_refused_as_a_plain_path_is(
    run, squares_file, tmp_path, no_work
):
    (tmp_path / "link.tif").symlink_to(tmp_path / "gone" / "o.tif")
    ended = run("segment", squares_file, "-c", "30,40", "-o", tmp_path / "link.tif")
    assert ended.code == 2
    assert f"The folder {tmp_path / 'gone'} for link.tif does not exist" in ended.err
    assert not (tmp_path / "gone").exists()


def test_where_the_picture_cannot_be_written_it_says_that_the_labels_were(
    run, bright, squares_file, tmp_path, monkeypatch
):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Image.Image, "save", full)
    out = tmp_path / "o.tif"
    ended = run("segment", squares_file, "-c", "30,40", "-o", out, "--overlay", tmp_path / "look.png")
    assert ended.code == 2
    assert f"look.png could not be written (No space left on device); the labels are in {out}." in ended.err
    assert "nothing was changed" not in ended.err
    assert tifffile.imread(out).sum() == 400


def test_outlines_without_a_crs_are_told_of(run, bright, squares, tmp_path):
    pytest.importorskip("pyogrio")
    rasterio = pytest.importorskip("rasterio")
    said = []
    for crs in (None, "EPSG:25832"):
        image = tmp_path / f"town{crs is None}.tif"
        place = {"crs": crs, "transform": rasterio.Affine(2, 0, 500_000, 0, -2, 5_300_000)}
        with rasterio.open(image, "w", width=128, height=96, count=1, dtype="uint8", **place) as file:
            file.write(squares, 1)
        ended = run("segment", image, "-c", "30,40", "-o", image.with_suffix(".gpkg"), "--json")
        assert ended.code == 0, ended.err
        said.append(ended.err.strip())
    assert said[0].startswith("townTrue.tif names no CRS")
    assert len(said[0].splitlines()) == 1
    assert said[1] == ""


def test_an_answer_that_nobody_gets_is_no_success(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)  # as after `>&-`
    with pytest.raises(SaveError, match="standard output is closed"):
        print_json({"labels": np.arange(2)})
