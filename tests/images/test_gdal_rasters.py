"""JPEG 2000 and VRT: read by windows and overviews, in place on the map, or a sentence with the fix."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from napari_iseg.errors import DamageError, InputError
from napari_iseg.images import scene as scene_module
from napari_iseg.images.files import open_image
from napari_iseg.images.scene import channel_options, open_scene
from napari_iseg.images.source import PlaneSource
from napari_iseg.labels.georeference import check_same_place, geo_reference
from napari_iseg.prompts import Window

rasterio = pytest.importorskip("rasterio")
PLACE = rasterio.transform.from_origin(691_000, 5_335_000, 10, 10)


def raster(
    path: Path, bands: int, *, dtype: str = "uint16", driver: str = "JP2OpenJPEG", **options
) -> np.ndarray:
    """Write smooth bands of 520 x 600 pixels, without loss; answers with them, (bands, rows, cols)."""
    ramp = np.linspace(0, 200, 520 * 600).reshape(520, 600)
    values = np.stack([np.roll(ramp, 70 * band, 1) + 9 * band for band in range(bands)]).astype(dtype)
    if driver == "JP2OpenJPEG":
        options |= {"QUALITY": "100", "REVERSIBLE": "YES"}
    shape = {"height": 520, "width": 600, "count": bands, "dtype": dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(
            path, "w", driver=driver, **({"crs": "EPSG:32632", "transform": PLACE} | shape | options)
        ) as file:
            file.write(values)
    return values


def vrt(path: Path, source: Path, *bands: str) -> Path:
    """Write a VRT of the bands of another file; each argument is what it says of one."""
    parts = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{band}">{says}<SimpleSource><SourceFilename>{source}'
        f"</SourceFilename><SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
        for band, says in enumerate(bands, 1)
    )
    path.write_text(
        '<VRTDataset rasterXSize="600" rasterYSize="520"><SRS>EPSG:32632</SRS><GeoTransform>691000,10,0,'
        f"5335000,0,-10</GeoTransform>{parts}</VRTDataset>"
    )
    return path


@pytest.mark.parametrize(("bands", "dtype"), [(1, "uint16"), (3, "uint8"), (3, "uint16"), (5, "uint16")])
def test_a_jpeg_2000_is_a_pyramid_with_all_its_values(tmp_path, bands, dtype):
    values = raster(tmp_path / "a.jp2", bands, dtype=dtype)
    opened = open_image(tmp_path / "a.jp2")
    last = np.moveaxis(values, 0, -1) if bands > 1 else values[0]
    assert [level.shape[:2] for level in opened.image[:2]] == [(520, 600), (260, 300)]
    assert (opened.shape, opened.rgb, opened.channel_axis) == (
        (520, 600),
        bands == 3,
        2 if bands == 5 else None,
    )
    full = opened.image[0]
    np.testing.assert_array_equal(full, last)
    np.testing.assert_array_equal(full[100:300, 50:90], last[100:300, 50:90])
    np.testing.assert_array_equal(full[7, ..., ::-3], last[7, ..., ::-3])
    source = PlaneSource.wrap(opened.image, **channel_options(opened))
    window = Window(100, 200, 356, 456)
    whole = PlaneSource.wrap(last, **channel_options(opened))
    np.testing.assert_array_equal(source.read(window).shape, whole.read(window).shape)
    assert np.abs(source.read(window) - whole.read(window)).max() < 0.05, "but for the stretch's sample"


def test_its_place_is_that_of_a_geotiff(tmp_path):
    raster(tmp_path / "a.jp2", 1)
    raster(tmp_path / "a.tif", 1, driver="GTiff")
    jp2, tiff = open_scene(tmp_path / "a.jp2"), open_scene(tmp_path / "a.tif")
    for name in ("scale", "translate", "unit", "on_map"):
        assert getattr(jp2, name) == getattr(tiff, name), name
    geo = geo_reference(tmp_path / "a.jp2", None, None)
    assert (geo.crs.to_epsg(), geo.transform, geo.shape) == (32632, PLACE, (520, 600))
    check_same_place(tmp_path / "a.jp2", tmp_path / "a.tif")
    raster(
        tmp_path / "b.tif",
        1,
        driver="GTiff",
        transform=rasterio.transform.from_origin(691_030, 5_335_000, 10, 10),
    )
    with pytest.raises(InputError, match=r"lies 3\.0 pixels beside"):
        check_same_place(tmp_path / "a.jp2", tmp_path / "b.tif")
    raster(tmp_path / "plain.jp2", 1, crs=None, transform=None)
    assert open_scene(tmp_path / "plain.jp2").scale == (1, 1)
    assert geo_reference(tmp_path / "plain.jp2", None, None) is None


def test_a_vrt_has_its_nodata_and_the_names_of_its_bands(tmp_path):
    values = raster(tmp_path / "a.tif", 4, driver="GTiff")
    says = "<Description>{}</Description><NoDataValue>0</NoDataValue>"
    bands = [says.format(name) for name in ("blue", "green", "red", "nir")]
    path = vrt(tmp_path / "a.vrt", tmp_path / "a.tif", *bands)
    opened = open_image(path)
    assert opened.nodata == 0
    assert open_scene(path).bands == (2, 1, 0)
    part = opened.image[0:2, 0:600, 0:4]
    np.testing.assert_array_equal(part.mask[..., 0], values[0, :2] == 0)


def test_a_palette_is_seen_in_its_colours_but_labels_are_numbers(tmp_path):
    values = raster(tmp_path / "a.tif", 1, driver="GTiff", dtype="uint16")
    colours = (
        '<ColorInterp>Palette</ColorInterp><ColorTable><Entry c1="9" c2="8" c3="7" c4="255"/></ColorTable>'
    )
    path = vrt(tmp_path / "a.vrt", tmp_path / "a.tif", colours)
    opened = open_image(path)
    assert (opened.rgb, opened.shape) == (True, (520, 600))
    np.testing.assert_array_equal(opened.image[0, 0], [9, 8, 7])
    np.testing.assert_array_equal(open_image(path, numbers=True).image, values[0])


def test_without_rasterio_or_overviews_the_fix_is_named(tmp_path, monkeypatch):
    raster(tmp_path / "a.tif", 1, driver="GTiff")
    path = vrt(tmp_path / "a.vrt", tmp_path / "a.tif", "")
    monkeypatch.setattr(scene_module, "_WITHOUT_LEVELS", 1000)
    with pytest.raises(InputError, match=r"no overviews.*gdal_translate -of COG a\.vrt a\.tif"):
        open_scene(path)
    with pytest.raises(InputError, match=r"gdaladdo -r average a\.tif"):
        open_scene(tmp_path / "a.tif")
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(InputError, match=r"napari-iseg\[geo\].*gdal_translate -of COG a\.vrt a\.tif"):
        open_image(path)


def test_what_cannot_be_read_is_a_sentence_with_the_reason(tmp_path):
    (tmp_path / "a.jp2").write_text("hello")
    with pytest.raises(InputError, match=r"a\.jp2 is no raster, or of a kind .*gdal_translate"):
        open_image(tmp_path / "a.jp2")
    opened = open_image(vrt(tmp_path / "a.vrt", tmp_path / "gone.tif", ""))
    with pytest.raises(DamageError, match=r"a\.vrt could not be read .*gone\.tif: No such file"):
        PlaneSource.wrap(opened.image).read(Window(0, 0, 5, 5))


def test_a_file_that_a_vrt_is_made_of_is_said_to_be_missing(tmp_path):
    opened = open_image(vrt(tmp_path / "a.vrt", tmp_path / "gone.tif", "", ""))
    with pytest.raises(DamageError, match=r"gone\.tif: No such .* is missing: put it back.*a\.vrt\.$"):
        PlaneSource.wrap(opened.image, **channel_options(opened)).read(Window(0, 0, 5, 5))


def test_bands_of_several_types_become_one_that_holds_them(tmp_path):
    values = raster(tmp_path / "a.tif", 3, driver="GTiff")
    path = vrt(tmp_path / "a.vrt", tmp_path / "a.tif", "", "", "")
    path.write_text(path.read_text().replace('"UInt16" band="2"', '"Float32" band="2"'))
    image = open_image(path).image
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image[30:90, :, 1:], values[1:, 30:90].transpose(1, 2, 0))
    np.testing.assert_array_equal(image[5, 7], values[:, 5, 7])


@pytest.mark.parametrize("bands", [1, 3])
def test_a_jpeg_2000_of_several_tiles_that_ends_early_is_damaged(tmp_path, bands):
    """Not what lay in the memory before; a window of the tiles that are there is read."""
    path = tmp_path / "a.jp2"
    values = raster(path, bands, BLOCKXSIZE="128", BLOCKYSIZE="128")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 6 // 10])
    source = PlaneSource.wrap(open_image(path).image, rgb=bands == 3)
    for scale in (1, 2):
        with pytest.raises(DamageError, match=r"a\.jp2 could not be read as an image .*undamaged copy"):
            source.read(Window(0, 0, 520, 600), (), scale)
    first = open_image(path).image[0][:100, :256]
    np.testing.assert_array_equal(first, np.moveaxis(values, 0, -1).squeeze()[:100, :256])
