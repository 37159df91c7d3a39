"""TIFF files whose pixels stand for something else, and whose overviews lie beside them."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_iseg.errors import DamageError
from napari_iseg.images import tiff
from napari_iseg.images.files import open_image
from napari_iseg.images.lazy import LookedUp
from napari_iseg.images.source import PlaneSource
from napari_iseg.prompts import Window

INDICES = (np.arange(96 * 80).reshape(96, 80) % 5).astype(np.uint8)
COLOURS = np.zeros((3, 256), np.uint16)
COLOURS[:, :5] = np.array([[0, 255, 10, 20, 30], [1, 0, 255, 90, 7], [2, 50, 60, 255, 9]]) * 257


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("wide", [1, 257])  # as some programs write colours, and as the format has them
def test_a_palette_is_seen_in_its_colours_but_labels_are_numbers(tmp_path, monkeypatch, lazy, wide):
    monkeypatch.setattr(tiff, "LAZY_BYTES", 0 if lazy else 1 << 20)
    options = {"photometric": "palette", "colormap": COLOURS // 257 * wide, "tile": (32, 32)}
    tifffile.imwrite(tmp_path / "p.tif", INDICES, metadata=None, **options)
    opened = open_image(tmp_path / "p.tif")
    assert (opened.rgb, opened.channel_axis, opened.axes, opened.shape) == (True, None, ("y", "x"), (96, 80))
    expected = (COLOURS[:, INDICES] // 257).transpose(1, 2, 0)
    np.testing.assert_array_equal(opened.image, expected)
    source = PlaneSource.wrap(opened.image, rgb=True)
    np.testing.assert_allclose(source.read(Window(3, 4, 60, 70)), expected[3:60, 4:70] / 255, atol=1e-6)
    np.testing.assert_array_equal(open_image(tmp_path / "p.tif", numbers=True).image, INDICES)


def test_a_look_up_table_of_a_microscope_leaves_intensities_alone(tmp_path):
    tifffile.imwrite(tmp_path / "i.tif", INDICES, imagej=True, colormap=COLOURS)
    opened = open_image(tmp_path / "i.tif")
    assert not opened.rgb
    np.testing.assert_array_equal(opened.image, INDICES)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_greys_of_a_few_bits_reach_from_black_to_white(tmp_path, bits):
    rasterio = pytest.importorskip("rasterio")
    values = INDICES % 2**bits
    place = rasterio.transform.from_origin(0, 0, 1, 1)
    shape = {"height": 96, "width": 80, "count": 1, "dtype": "uint8", "transform": place}
    with rasterio.open(tmp_path / "b.tif", "w", driver="GTiff", NBITS=bits, **shape) as file:
        file.write(values, 1)
    source = PlaneSource.wrap(open_image(tmp_path / "b.tif").image)
    seen = source.read(Window.of_shape(source.shape))[..., 0]
    np.testing.assert_allclose(seen, values / (2**bits - 1), atol=0.5 / 255)
    np.testing.assert_array_equal(open_image(tmp_path / "b.tif", numbers=True).image, values)


def test_overviews_beside_the_file_are_its_levels_with_colours_together_or_apart(tmp_path):
    full = np.random.default_rng(2).integers(0, 255, (97, 80, 3)).astype(np.uint8)
    half, quarter = full[::2, ::2], full[:96:4, ::4]  # 49 rows, rounded up, and 24, rounded down
    tifffile.imwrite(tmp_path / "a.tif", full, photometric="rgb", metadata=None)
    with tifffile.TiffWriter(tmp_path / "a.tif.ovr") as file:
        options = {"photometric": "rgb", "metadata": None, "subfiletype": 1, "tile": (16, 16)}
        file.write(np.moveaxis(half, -1, 0), planarconfig="separate", **options)
        file.write(quarter, **options)
        file.write(full[:50, :50], **options)  # of another picture
        file.write(half[..., 0] > 9, photometric="minisblack", metadata=None)  # its mask
    opened = open_image(tmp_path / "a.tif")
    assert [level.shape for level in opened.image] == [(97, 80, 3), (49, 40, 3), (24, 20, 3)]
    for level, expected in zip(opened.image, (full, half, quarter), strict=True):
        np.testing.assert_array_equal(level, expected)
        np.testing.assert_array_equal(level[3:9, 5], expected[3:9, 5])
        np.testing.assert_array_equal(level[4, 2:7, 1:3], expected[4, 2:7, 1:3])
    assert opened.rgb
    source = PlaneSource.wrap(opened.image, rgb=True)
    np.testing.assert_allclose(source.read(Window(0, 0, 96, 80), (), 4), quarter / 255, atol=1e-6)


def test_a_palette_is_looked_up_window_by_window(tmp_path):
    """Colours of the whole image take three times its memory, and the time to make them."""
    tifffile.imwrite(tmp_path / "p.tif", INDICES, photometric="palette", colormap=COLOURS)
    image = open_image(tmp_path / "p.tif").image
    assert isinstance(image, LookedUp)
    np.testing.assert_array_equal(image[3, 4], COLOURS[:, INDICES[3, 4]] // 257)
    bits = LookedUp(INDICES % 2 > 0, np.array([9, 200], np.uint8))
    np.testing.assert_array_equal(bits[:5, 2], np.where(INDICES[:5, 2] % 2, 200, 9))


@pytest.mark.parametrize(
    ("values", "options"),
    [
        (INDICES, {"extratags": [(320, 3, 768, COLOURS.ravel().tolist(), True)]}),  # greys, colours beside
        (np.stack([INDICES] * 3), {"photometric": "palette", "colormap": COLOURS}),
        (INDICES.astype(np.uint16), {"photometric": "palette", "colormap": np.zeros((3, 2**16), np.uint16)}),
    ],
)
def test_colours_of_what_is_no_map_or_drawing_leave_intensities_alone(tmp_path, values, options):
    tifffile.imwrite(tmp_path / "i.tif", values, **({"photometric": "minisblack"} | options))
    opened = open_image(tmp_path / "i.tif")
    assert not opened.rgb
    np.testing.assert_array_equal(opened.image, values)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_map_has_its_colours_however_gdal_wrote_them(tmp_path, dtype):
    rasterio = pytest.importorskip("rasterio")
    place = rasterio.transform.from_origin(0, 0, 1, 1)
    shape = {"height": 96, "width": 80, "count": 1, "dtype": dtype, "transform": place}
    with rasterio.open(tmp_path / "m.tif", "w", driver="GTiff", **shape) as file:
        file.write(INDICES.astype(dtype), 1)
        file.write_colormap(1, {1: (9, 8, 7, 255)})  # after the pixels: the file calls them greys
    image = open_image(tmp_path / "m.tif").image
    np.testing.assert_array_equal(image[INDICES.shape[0] - 1], np.outer(INDICES[-1] == 1, [9, 8, 7]))


@pytest.mark.parametrize("beside", [b"", b"no TIFF at all", b"II*\x00\x08\x00"])
def test_overviews_beside_the_file_that_are_none_are_left_out(tmp_path, beside):
    tifffile.imwrite(tmp_path / "a.tif", INDICES)
    (tmp_path / "a.tif.ovr").write_bytes(beside)
    np.testing.assert_array_equal(open_image(tmp_path / "a.tif").image, INDICES)


def test_overviews_that_end_early_are_to_be_made_again(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", INDICES)
    path = tmp_path / "a.tif.ovr"
    tifffile.imwrite(path, INDICES[::2, ::2], subfiletype=1, tile=(16, 16), metadata=None)
    path.write_bytes(path.read_bytes()[:-300])
    source = PlaneSource.wrap(open_image(tmp_path / "a.tif").image)
    with pytest.raises(DamageError, match=r"a\.tif\.ovr could not .*; delete it; `gdaladdo` makes"):
        source.read(Window(0, 0, 96, 80), (), 2)
