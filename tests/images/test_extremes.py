"""Values at the ends of what floats hold, pixels without any, and packages that are not there."""

from __future__ import annotations

from pathlib import Path

import dask.array
import numpy as np
import pytest
import tifffile

from napari_iseg.errors import DamageError, InputError
from napari_iseg.images import damage
from napari_iseg.images.damage import reading
from napari_iseg.images.files import open_image
from napari_iseg.images.nodata import Masked
from napari_iseg.images.source import PlaneSource
from napari_iseg.prompts import Window

RAMP = np.linspace(-1, 1, 400).reshape(20, 20)
WHOLE = Window(0, 0, 20, 20)


@pytest.mark.parametrize("size", [1e38, 1e300, 1e307])
def test_large_doubles_keep_their_contrast(size):
    np.testing.assert_allclose(
        PlaneSource.wrap(RAMP * size).read(WHOLE), PlaneSource.wrap(RAMP).read(WHOLE), atol=1e-6
    )
    shifted = PlaneSource.wrap(5 * size + RAMP * size).read(WHOLE)
    np.testing.assert_allclose(shifted, PlaneSource.wrap(5 + RAMP).read(WHOLE), atol=1e-6)


def test_where_there_are_no_values_is_known():
    stack = np.stack([RAMP, np.full_like(RAMP, np.nan)])
    stack[0, :10] = np.inf
    source = PlaneSource.wrap(stack)
    assert source.holds_values(WHOLE, (0,))
    assert source.holds_values(WHOLE, (0,), 4)
    assert not source.holds_values(Window(0, 0, 10, 20), (0,))
    assert not source.holds_values(WHOLE, (1,))
    masked = np.ma.MaskedArray(np.zeros((20, 20), np.uint16), RAMP < 0)
    assert not PlaneSource.wrap(masked).holds_values(Window(0, 0, 9, 20))
    assert PlaneSource.wrap(masked).holds_values(WHOLE), "0 is a value"
    assert not PlaneSource.wrap(Masked(np.zeros((20, 20), np.uint16), 0)).holds_values(WHOLE)
    assert not PlaneSource.wrap(dask.array.from_array(masked)).holds_values(Window(0, 0, 9, 20))


def test_a_codec_that_python_itself_may_have_is_missing():
    with pytest.raises(InputError, match=r"a\.tif is compressed .*pip install imagecodecs"), reading("a.tif"):
        import no_such_package_of_compression  # noqa: F401
    assert issubclass(tifffile.TiffFileError, damage._DAMAGE)
    with pytest.raises(DamageError, match=r"a\.tif could not be read"), reading("a.tif"):
        raise tifffile.TiffFileError("not a TIFF file")


@pytest.mark.parametrize("address", ["http://127.0.0.1:8000/town.zarr", "s3://bucket/town.zarr"])
def test_an_address_is_no_file(address):
    with pytest.raises(InputError, match=rf"^{address} is an address and no file; open it in Python"):
        open_image(Path(address))
