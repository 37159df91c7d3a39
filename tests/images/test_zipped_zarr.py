"""A zarr in one file, .zarr.zip or .ozx, is read as the folder is."""

from __future__ import annotations

import pickle
from zipfile import ZipFile

import numpy as np
import pytest

from napari_iseg.errors import InputError
from napari_iseg.images.files import open_image
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Window


@pytest.fixture
def zarr_folder(tmp_path):
    store = LabelStore((40, 50), path=tmp_path / "a.zarr", scale=(0.5, 0.5), units=("um", "um"))
    store.write(7, (), Window(3, 4, 13, 14), np.ones((10, 10), bool))
    return tmp_path / "a.zarr"


def packed(folder, target, within=""):
    with ZipFile(target, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, f"{within}{file.relative_to(folder).as_posix()}")
    return target


@pytest.mark.parametrize("name", ["b.zarr.zip", "b.OZX"])
def test_it_is_read_as_the_folder_is(zarr_folder, tmp_path, name):
    file = packed(zarr_folder, tmp_path / name)
    before = file.read_bytes()
    opened, folder = open_image(file), open_image(zarr_folder)
    assert (opened.shape, opened.axes, opened.scale, opened.units) == (
        folder.shape, folder.axes, folder.scale, folder.units,
    )  # fmt: skip
    sent = pickle.loads(pickle.dumps(opened.image[0]))  # as to a worker
    np.testing.assert_array_equal(sent[:], folder.image[0][:])
    assert file.read_bytes() == before


def test_what_holds_none_says_what_to_do(zarr_folder, tmp_path):
    with pytest.raises(InputError, match="unpack it and take the folder inside"):
        open_image(packed(zarr_folder, tmp_path / "b.zarr.zip", within="a.zarr/"))
    (tmp_path / "bad.ozx").write_bytes(b"no zip")
    with pytest.raises(InputError, match=r"bad\.ozx holds no zarr image"):
        open_image(tmp_path / "bad.ozx")
