"""A zarr in one file, .zarr.zip or .ozx, is read as the folder is."""

from __future__ import annotations

import pickle
from zipfile import ZipFile

import numpy as np
import pytest

from napari_iseg.errors import DamageError, InputError
from napari_iseg.images import PlaneSource
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
    with ZipFile(tmp_path / "empty.ozx", "w"):
        pass
    with pytest.raises(InputError, match=r"empty\.ozx holds no zarr image at its top"):
        open_image(tmp_path / "empty.ozx")


@pytest.mark.parametrize("member", ["zarr.json", "0/zarr.json", "0/c/0/0"])
def test_a_damaged_one_is_told_with_its_name(zarr_folder, tmp_path, member):
    file = packed(zarr_folder, tmp_path / "b.zarr.zip")
    with ZipFile(file) as archive:
        inside = archive.getinfo(member)
    content = bytearray(file.read_bytes())
    content[inside.header_offset + 30 + len(member) + inside.file_size // 2] ^= 0xFF  # 30: its header
    file.write_bytes(content)
    with pytest.raises(DamageError, match=r"b\.zarr\.zip could not .* \(Bad CRC.* by an undamaged copy"):
        PlaneSource.wrap(open_image(file).image).read(Window(0, 0, 40, 50))


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04"])
def test_what_is_no_whole_zip_is_damaged(tmp_path, content):
    (tmp_path / "bad.ozx").write_bytes(content)
    with pytest.raises(DamageError, match=r"bad\.ozx .*replace it by an undamaged copy"):
        open_image(tmp_path / "bad.ozx")
