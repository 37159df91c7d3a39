"""Files of tables without shapes hold no polygon, whatever else is in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_iseg.errors import InputError
from napari_iseg.fewshot.area_files import read_polygons


@pytest.mark.parametrize("text", ["x,y\n", "x,y\n1,2\n3,4\n"])
def test_a_table_of_text_holds_no_polygon(tmp_path: Path, text: str) -> None:
    pytest.importorskip("pyogrio")
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=r"p\.csv holds no polygon; draw at least one"):
        read_polygons(path)


@pytest.mark.parametrize(
    ("name", "driver"), [("t.gpkg", "GPKG"), ("t.dbf", "ESRI Shapefile"), ("t.db", "SQLite")]
)
def test_a_table_of_a_database_holds_no_polygon(tmp_path: Path, name: str, driver: str) -> None:
    pyogrio = pytest.importorskip("pyogrio")
    path = tmp_path / name
    pyogrio.raw.write(path, None, [np.arange(3)], ["a"], driver=driver)
    with pytest.raises(InputError, match="holds no polygon"):
        read_polygons(path)
