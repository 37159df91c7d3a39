"""Objects of a map leave the command line as outlines, too."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

pytest.importorskip("pyogrio")
rasterio = pytest.importorskip("rasterio")


@pytest.mark.parametrize("name", ["out.gpkg", "out.geojson"])
def test_outlines_by_the_ending(run, bright, squares, tmp_path, name):
    import pyogrio

    image = tmp_path / "town.tif"
    place = {"crs": "EPSG:25832", "transform": rasterio.Affine(2, 0, 500_000, 0, -2, 5_300_000)}
    with rasterio.open(image, "w", width=128, height=96, count=1, dtype="uint8", **place) as file:
        file.write(squares, 1)
    ended = run("segment", image, "--click", "30,40", "-o", tmp_path / name)
    assert ended.code == 0, ended.err
    meta, _, shapes, fields = pyogrio.raw.read(tmp_path / name)
    assert len(shapes) == 1
    np.testing.assert_allclose(fields[list(meta["fields"]).index("area_m2")], [1600], rtol=0.01)


def test_outlines_without_a_map_are_refused_before_any_work(run, squares, tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "cells.tif", squares)
    monkeypatch.setattr(
        "napari_iseg.weights.store.load_model", lambda *_, **__: pytest.fail("work was begun")
    )
    ended = run("segment", tmp_path / "cells.tif", "--click", "30,40", "-o", tmp_path / "out.gpkg")
    assert ended.code == 2
    assert "needs map coordinates" in ended.err
