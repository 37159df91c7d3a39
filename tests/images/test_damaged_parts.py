"""An image of which some parts are damaged: the others are looked at as ever."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from napari_iseg.errors import DamageError
from napari_iseg.images import PlaneSource
from napari_iseg.prompts import Window

PIXELS = np.arange(4 * 8 * 8, dtype=np.uint16).reshape(4, 8, 8)
WHOLE = Window(0, 0, 8, 8)


def stored(path, damaged):
    array = zarr.create_array(path, shape=PIXELS.shape, chunks=(1, 8, 8), dtype=PIXELS.dtype)
    array[...] = PIXELS
    for plane in damaged:
        (path / "c" / str(plane) / "0" / "0").write_bytes(b"broken")
    return PlaneSource.wrap(array, rgb=False)


def test_the_stretch_is_of_what_can_be_read(tmp_path):
    source = stored(tmp_path / "v.zarr", [2])
    rest = PlaneSource.wrap(PIXELS[[0, 1, 3]], rgb=False)
    np.testing.assert_array_equal(source.read(WHOLE, (3,)), rest.read(WHOLE, (2,)))
    with pytest.raises(DamageError, match=r"v\.zarr could not be read as an image"):
        source.read(WHOLE, (2,))


def test_without_anything_to_read_it_is_said(tmp_path):
    with pytest.raises(DamageError, match=r"v\.zarr could not be read as an image"):
        stored(tmp_path / "v.zarr", range(4)).stretch()


def test_a_drive_that_does_not_answer_is_no_damage():
    """What is learned from half an image would be another stretch than the next time."""

    class Drive:
        shape, dtype, ndim, failures = PIXELS.shape, PIXELS.dtype, 3, 1

        def __getitem__(self, index):
            if index[0] == 2 and self.failures:
                self.failures -= 1
                raise OSError(5, "Input/output error")
            return PIXELS[index]

    source = PlaneSource.wrap(Drive(), rgb=False)
    with pytest.raises(DamageError, match="see that its disk or network drive is there"):
        source.stretch()
    np.testing.assert_array_equal(
        source.read(WHOLE, (2,)), PlaneSource.wrap(PIXELS, rgb=False).read(WHOLE, (2,))
    )
