"""Which pixels hold values, at any scale, and sources that are copied or asked with plain numbers."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest

from napari_iseg.errors import InputError
from napari_iseg.images.nodata import Masked
from napari_iseg.images.source import PlaneSource
from napari_iseg.prompts import Window

WHOLE = Window(0, 0, 40, 60)


def scene(dtype: str = "float32") -> np.ndarray:
    """(2, 40, 60) with a collar of 10 columns, one pixel that lacks one band, and a hole of 4 x 4."""
    values = np.random.default_rng(0).integers(1, 200, (2, 40, 60)).astype(dtype)
    gap = np.nan if dtype == "float32" else 0
    values[:, :, :10] = gap
    values[1, 30, 30] = gap
    values[:, 4:8, 40:44] = gap
    return values


def truth() -> np.ndarray:
    valid = np.ones((40, 60), bool)
    valid[:, :10] = valid[4:8, 40:44] = False
    return valid


def sources() -> list[PlaneSource]:
    return [
        PlaneSource.wrap(scene(), channel_axis=0, bands=(0, 1)),
        PlaneSource.wrap(Masked(scene("uint16"), np.uint16(0)), channel_axis=0, bands=(0, 1)),
    ]


@pytest.mark.parametrize("source", sources(), ids=["NaN", "nodata"])
@pytest.mark.parametrize("scale", [1, 4, 7])
def test_a_pixel_is_valid_where_any_of_its_bands_holds_a_value(source, scale):
    window = Window(3, 2, 38, 57)
    pixels, valid = source.look(window, (), scale)
    np.testing.assert_array_equal(pixels, source.read(window, (), scale))
    np.testing.assert_array_equal(valid, source.valid(window, (), scale))
    rows, cols = valid.shape
    for row, col in np.ndindex(rows, cols):
        cell = truth()[window.slices][row * scale : (row + 1) * scale, col * scale : (col + 1) * scale]
        assert valid[row, col] == cell.any()
    assert source.valid(Window(10, 12, 30, 40)) is None
    assert source.holds_values(WHOLE)
    assert not source.holds_values(Window(0, 0, 40, 10))


def test_of_a_pyramid_the_level_for_the_scale_is_asked():
    coarse = np.ones((20, 30), np.float32)
    coarse[:10] = np.nan
    source = PlaneSource.wrap([np.ones((40, 60), np.float32), coarse])
    assert source.valid(WHOLE) is None
    np.testing.assert_array_equal(source.valid(WHOLE, (), 2), np.isfinite(coarse))


def test_of_an_image_without_gaps_nothing_is_read():
    class Unread:
        shape, dtype, ndim = (40, 60), np.dtype(np.uint16), 2

        def __getitem__(self, index):
            raise AssertionError("read")

    source = PlaneSource.wrap(Unread())
    assert source.valid(WHOLE) is None
    assert source.holds_values(WHOLE)


def test_a_picture_takes_the_gaps_of_what_it_was_made_from():
    values = PlaneSource.wrap(scene(), channel_axis=0, bands=(0, 1))
    picture = PlaneSource.wrap(np.zeros((40, 60, 3), np.uint8))
    picture.take_gaps_of(values)
    pixels, valid = picture.look(WHOLE)
    assert not pixels.any()
    np.testing.assert_array_equal(valid, truth())
    with pytest.raises(InputError, match=r"\(40, 60\) pixels is not made from values of \(9, 60\)"):
        picture.take_gaps_of(PlaneSource.wrap(scene()[0, :9]))


@pytest.mark.parametrize("again", [copy.deepcopy, lambda source: pickle.loads(pickle.dumps(source))])
def test_a_copy_reads_the_same(again):
    source = PlaneSource.wrap(scene(), channel_axis=0, bands=(0, 1))
    expected = source.read(WHOLE)
    for made in (again(source), again(PlaneSource.wrap(scene(), channel_axis=0, bands=(0, 1)))):
        np.testing.assert_array_equal(made.read(WHOLE), expected)
        np.testing.assert_array_equal(made.valid(WHOLE), truth())


def test_pixels_go_with_their_source():
    pixels = scene()
    gone = weakref.ref(pixels)
    gc.disable()  # which does not see how much a cycle holds
    try:
        source = PlaneSource.wrap(pixels, channel_axis=0, bands=(0, 1))
        source.look(WHOLE)
        del pixels, source
        assert gone() is None
    finally:
        gc.enable()


def test_plain_numbers_will_do():
    stack = PlaneSource.wrap(np.arange(3 * 9 * 9, dtype=np.uint8).reshape(3, 9, 9))
    window = Window(0, 0, 9, 4)
    np.testing.assert_array_equal(stack.read((0, 0, 9, 4), 2), stack.read(window, (2,)))
    np.testing.assert_array_equal(stack.read(np.array([0, 0, 9, 4]), np.int64(2)), stack.read(window, (2,)))
    for wrong in ((0, 0, 9), "all", (0, 0, 9, 4.5), 3):
        with pytest.raises(InputError, match="Window or four whole numbers"):
            stack.read(wrong, 2)
    for plane in (3, 0.5, "2", (), (0, 0), None):
        with pytest.raises(InputError, match="is not one of the image's"):
            stack.read(window, plane)
    with pytest.raises(InputError, match="scale must be at least 1"):
        stack.read(window, 2, 0.5)
