"""Addresses in place of paths: those of files are taken, of others it is said what reads them."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_iseg.cli.common import with_local_path


def test_a_files_address_is_its_path_and_another_is_refused(run, tmp_path):
    image = tmp_path / "a picture.tif"
    tifffile.imwrite(image, np.zeros((40, 40), np.uint8))
    out = tmp_path / "o.zarr"
    ended = run("propagate", image.as_uri(), image.as_uri(), out.as_uri(), "--bands", "2")
    assert "one channel only" in ended.err, "it was found and opened"
    ended = run("propagate", "http://127.0.0.1:1/town.zarr", image, out)
    assert ended.code == 2
    assert "http://127.0.0.1:1/town.zarr is an address and no file" in ended.err
    ended = run("propagate", "file://server/share/town.zarr", image, out)
    assert "file://server/share/town.zarr is a file of another machine" in ended.err


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("file:///a/b%20c.tif", "/a/b c.tif"),
        ("file://localhost/a.tif", "/a.tif"),
        ("file:/a.tif", "/a.tif"),
        ("file:///a/b#1?.tif", "/a/b#1?.tif"),
        ("--output=file:///a.tif", "--output=/a.tif"),
        ("file://server/share/a.tif", "file://server/share/a.tif"),
        ("file://a.tif", "file://a.tif"),
        ("file://", "file://"),
        ("file:", "file:"),
        ("a file:///b", "a file:///b"),
    ],
)
def test_only_an_address_of_this_machine_is_a_path(given, path):
    assert with_local_path(given).replace("\\", "/") == path
