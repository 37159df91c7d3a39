"""Where a session's image came from, and how it is recognised again; the reader knows its folders."""

from __future__ import annotations

import numpy as np
import pytest
import tomli_w
from napari.components import ViewerModel
from napari.layers import Image

from napari_iseg.errors import InputError
from napari_iseg.widgets.origin import Origin
from napari_iseg.widgets.placement import PlaneAxes
from napari_iseg.widgets.session_reader import get_reader, read_session


def info(**image):
    return {"format": 1, "image": image, "labels": {"shape": [4, 20, 30]}}


def test_axes_are_those_of_the_session(tmp_path):
    natural = Origin.of_session(info(), tmp_path)
    assert natural.axes_in(Image(np.zeros((4, 20, 30)))) == PlaneAxes(3, 1, 2)
    assert natural.axes_in(Image(np.zeros((20, 4, 30)))) is None
    assert natural.axes_in(Image(np.zeros((20, 30)))) is None
    assert natural.axes_in(Image(np.zeros((4, 20, 30, 3), np.uint8), rgb=True)) == PlaneAxes(3, 1, 2)
    rolled = Origin.of_session(info(options={"plane_axes": [0, 2]}), tmp_path)
    assert rolled.axes_in(Image(np.zeros((20, 4, 30)))) == PlaneAxes(3, 0, 2)


def test_a_file_moved_with_its_session_is_found(tmp_path):
    folder = tmp_path / "s.iseg"
    folder.mkdir()
    (tmp_path / "image.tif").touch()
    assert Origin.of_session(info(path="/gone/image.tif"), folder).path == str(tmp_path / "image.tif")
    assert Origin.of_session(info(path="/gone/other.tif"), folder).path == "/gone/other.tif"
    assert (
        Origin.of_session(info(path="https://example.org/a.zarr"), folder).path
        == "https://example.org/a.zarr"
    )


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ({"path": "/gone/a.tif"}, "/gone/a.tif, is not there any more; put it back, or open that image"),
        ({"name": "array"}, "array, was not opened from a file; open that image"),
        ({"sample": ["no-plugin", "key"]}, "install that plugin"),
    ],
)
def test_an_image_that_is_gone_is_named_with_the_fix(tmp_path, image, words):
    with pytest.raises(InputError, match=words):
        Origin.of_session(info(**image), tmp_path).open_in(ViewerModel())


def test_a_record_without_a_shape_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not say its shape"):
        Origin.of_session({"image": {}}, tmp_path)


def test_only_session_folders_are_read(tmp_path):
    folder = tmp_path / "s.iseg"
    folder.mkdir()
    assert get_reader(str(folder)) is None
    (folder / "session.toml").write_text(tomli_w.dumps(info()))
    assert get_reader(str(folder)) is None
    (folder / "journal.jsonl").touch()
    assert get_reader(str(folder)) is read_session
    assert get_reader(str(folder / "session.toml")) is read_session
    assert get_reader([str(folder)]) is None
    assert get_reader(str(tmp_path)) is None
    with pytest.raises(InputError, match=r"Session.open"):
        read_session(str(folder))
