"""A full disk is named, also where the package that writes on it does not, and nothing is lost unsaid."""

from __future__ import annotations

import errno
import shutil
from collections import namedtuple

import numpy as np
import pytest

from napari_iseg.errors import SaveError
from napari_iseg.labels.export import export_labels
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Window

rasterio = pytest.importorskip("rasterio")

NORTH = rasterio.transform.from_origin(500_000, 6_000_000, 0.5, 0.5)
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def noise():
    store = LabelStore((400, 400))
    store.write(1, (), Window.of_shape((400, 400)), np.random.default_rng(0).random((400, 400)) < 0.5)
    return store


@pytest.mark.parametrize("free", [0, 2**17, 2**40])
def test_outlines_name_it_where_gdal_names_what_it_was_about(noise, tmp_path, monkeypatch, free):
    pyogrio = pytest.importorskip("pyogrio")

    def full(*_, **__):
        raise pyogrio.errors.FeatureError("Could not add feature: no such table")

    monkeypatch.setattr(pyogrio.raw, "write", full)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**41, 0, free))
    reason = "Could not add feature: no such table" if free == 2**40 else "No space left on device"
    with pytest.raises(SaveError, match=rf"o.gpkg could not be written \({reason}\)"):
        export_labels(noise, tmp_path / "o.gpkg", transform=NORTH)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [2, 4096, 20_000])
def test_a_geotiff_that_lacks_its_end_is_no_success(noise, tmp_path, size):
    """GDAL reports no error in what it writes last, when it closes the file."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = tmp_path / "o.tif"
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        with pytest.raises(SaveError, match=r"o.tif could not be written"):
            export_labels(noise, path, transform=NORTH)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
    export_labels(noise, path, transform=NORTH)
    assert path.stat().st_size > 20_000


def test_a_geotiff_on_a_full_disk_says_so(noise, tmp_path, monkeypatch):
    def full(*_, **__):
        raise rasterio.errors.RasterioIOError("Write failed. See previous exception for details.")

    monkeypatch.setattr(rasterio.io.DatasetWriter, "write", full)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**41, 0, 0))
    with pytest.raises(SaveError, match="No space left on device") as raised:
        export_labels(noise, tmp_path / "o.tif", transform=NORTH)
    assert raised.value.__cause__.errno == errno.ENOSPC


def test_a_plain_tiff_on_a_full_disk_says_so(noise, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError("2250000 requested and 26456 written")  # numpy's, without a number

    monkeypatch.setattr("napari_iseg.labels.export.write_tiff", full)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**41, 0, 0))
    with pytest.raises(SaveError, match="No space left on device"):
        export_labels(noise, tmp_path / "o.tif")
