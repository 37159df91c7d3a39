"""No command deletes what it reads, nor what another one wrote at the same moment."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from napari_iseg.cli import segment
from napari_iseg.errors import InputError
from napari_iseg.fewshot.propagate import propagate
from napari_iseg.files import replacing, replacing_folder
from napari_iseg.labels.store import LabelStore

sys.path.insert(0, str(Path(__file__).parents[1] / "fewshot"))

from run_fakes import GreyPredictor, blobs, sparse

VOLUME, TRUTH = blobs()


@pytest.fixture
def given(tmp_path, monkeypatch):
    """A stack that could be a result too (a label group), and its annotation."""
    monkeypatch.setattr("napari_iseg.fewshot.predictors._load", lambda *_: GreyPredictor())
    stack, some = tmp_path / "x_objects.zarr", tmp_path / "some.tif"
    store = LabelStore(VOLUME.shape, path=stack)
    store.levels[0][...] = VOLUME
    store.flush()
    tifffile.imwrite(some, sparse(TRUTH, 2).astype(np.uint16), photometric="minisblack")
    return stack, some


def test_a_stack_is_not_overwritten_by_its_result(run, tmp_path, given):
    stack, some = given
    link = tmp_path / "link.zarr"
    link.symlink_to(stack)
    for volume, out in ((stack, stack), (link, stack), (stack, link), (stack / "0", stack)):
        for choice in ((), ("--overwrite",), ("--resume",)):
            ended = run("propagate", volume, some, out, *choice)
            assert ended.code == 2
            assert "is the image itself, or holds it" in ended.err
    ended = run("propagate", stack, some, tmp_path / "x.zarr", "--objects", "2", "--overwrite")
    assert "x_objects.zarr is the image itself" in ended.err
    ended = run("propagate", some, stack, tmp_path / "x.zarr", "--objects", "2", "--overwrite")
    assert "x_objects.zarr holds the annotations" in ended.err
    level = zarr.open_array(stack / "0", mode="r")
    for image in (level, [level], zarr.open_group(stack, mode="r")["0"]):
        with pytest.raises(InputError, match="is the image itself"):
            propagate(image, sparse(TRUTH, 2), stack, GreyPredictor(), existing="overwrite")
    np.testing.assert_array_equal(np.asarray(level), VOLUME)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.zarr", "some.tif", "x_objects.zarr"]


def test_a_result_has_one_record_by_whatever_name(run, tmp_path, given):
    (tmp_path / "disk").mkdir()
    real, link = tmp_path / "disk" / "rest.zarr", tmp_path / "link.zarr"
    link.symlink_to(real)
    assert run("propagate", *given, link).code == 0
    assert sorted(path.name for path in real.parent.iterdir()) == ["rest.zarr", "rest.zarr.run"]
    assert run("propagate", *given, real, "--resume", "--json").json["computed"] == 0


@pytest.mark.usefixtures("bright")
@pytest.mark.parametrize("name", ["mask.tif", "mask.zarr", "mask.png"])
def test_what_was_written_meanwhile_is_left(run, squares_file, tmp_path, monkeypatch, name):
    out, load = tmp_path / name, segment._load
    clicks = ("--click", "30,40", "-o", out)
    with monkeypatch.context() as first:
        first.setattr(segment, "_load", _once(lambda: run("segment", squares_file, *clicks), load))
        ended = run("segment", squares_file, "--click", "70,100", "-o", out)
    assert ended.code == 2, ended.err
    assert f"{name} exists already" in ended.err
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "squares.tif"])
    ended = run("segment", squares_file, "--click", "70,100", "-o", out, "--overwrite")
    assert ended.code == 0, ended.err


def _once(before, load):
    """``load``, at whose first call another command does its work."""
    calls: list[int] = []

    def loaded(*given):
        calls.append(1)
        if len(calls) == 1:
            assert before().code == 0
        return load(*given)

    return loaded


@pytest.mark.usefixtures("bright")
def test_two_demos_in_one_folder(run, tmp_path, monkeypatch):
    from napari_iseg.cli import demo

    clicks = demo.central_clicks

    def slow(labels, count):
        (tmp_path / "image.tif").write_text("another's")
        return clicks(labels, count)

    monkeypatch.setattr(demo, "central_clicks", slow)
    ended = run("demo", "--headless", tmp_path)
    assert (ended.code, [path.name for path in tmp_path.iterdir()]) == (2, ["image.tif"])
    assert "image.tif exists already" in ended.err
    assert (tmp_path / "image.tif").read_text() == "another's"


@pytest.mark.parametrize("links", [True, False], ids=["links", "no-links"])
def test_of_two_that_make_a_file_one_succeeds(tmp_path, monkeypatch, links):
    def none(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", none)
    path = tmp_path / "a.txt"
    with replacing(path, new=True) as stream:
        stream.write(b"first")
    with pytest.raises(InputError, match=r"a\.txt exists already"), replacing(path, new=True) as stream:
        stream.write(b"second")
    assert path.read_bytes() == b"first"
    with pytest.raises(InputError, match=r"a\.txt exists already"), replacing_folder(path, new=True):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_of_two_that_make_a_folder_one_succeeds(tmp_path):
    for number in range(2):
        refused = pytest.raises(InputError, match="b exists already") if number else nullcontext()
        with refused, replacing_folder(tmp_path / "b", new=True) as fresh:
            (fresh / str(number)).touch()
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["0"]
