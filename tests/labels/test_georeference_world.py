"""Polygons on maps of the whole world, whose longitudes go from -180 to 180 or from 0 to 360."""

from __future__ import annotations

import numpy as np
import pytest

from napari_iseg.errors import InputError
from napari_iseg.labels.georeference import to_pixels

rasterio = pytest.importorskip("rasterio")


@pytest.fixture
def world(tmp_path):
    path = tmp_path / "world.tif"
    options = {"height": 18, "width": 36, "count": 1, "dtype": "uint8", "crs": "EPSG:4326"}
    place = rasterio.transform.from_origin(0, 90, 10, 10)
    with rasterio.open(path, "w", driver="GTiff", transform=place, **options) as target:
        target.write(np.zeros((1, 18, 36), np.uint8))
    return path


def square(west, south):
    ring = [(west, south), (west + 10, south), (west + 10, south + 10), (west, south + 10), (west, south)]
    return [{"type": "Polygon", "coordinates": [ring]}]


def test_longitudes_from_0_to_360_need_no_crs(world):
    (rings,) = to_pixels(square(350, 10), None, world)
    assert np.allclose(rings[0][0], (7.5, 34.5))


@pytest.mark.parametrize(("west", "south"), [(351, 10), (-181, 10), (350, 81)])
def test_further_on_they_are_no_longitudes_and_latitudes(world, west, south):
    with pytest.raises(InputError, match="numbers are no longitudes and latitudes"):
        to_pixels(square(west, south), None, world)
