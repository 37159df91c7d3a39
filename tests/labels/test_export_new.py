"""An export that may replace nothing is refused before the work."""

from __future__ import annotations

import pytest

from napari_iseg.errors import InputError, SaveError
from napari_iseg.labels import export
from napari_iseg.labels.export import check_export, export_labels
from napari_iseg.labels.store import LabelStore


@pytest.mark.parametrize("name", ["e.tif", "e.png", "e.zarr"])
def test_a_name_that_is_taken_is_refused_before_the_work(tmp_path, monkeypatch, name):
    labels = LabelStore((8, 9))
    export_labels(labels, tmp_path / name, new=True)
    for work in ("in_order", "arranged"):
        monkeypatch.setattr(export, work, lambda *_, **__: pytest.fail("it worked"))
    with pytest.raises(InputError, match=rf"{name} exists already and was left as it is"):
        export_labels(labels, tmp_path / name, new=True)


def test_a_place_in_a_file_is_refused_before_the_work(tmp_path):
    (tmp_path / "ff.txt").touch()
    with pytest.raises(SaveError, match=r"no folder \S+ff\.txt; choose another place for x\.tif"):
        check_export(LabelStore((8, 9)), tmp_path / "ff.txt" / "x.tif")
