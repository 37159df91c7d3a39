"""What is typed is looked at before any work: empty values, and refusals with what there is and the fix."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from napari_iseg.cli.segment import _say_what_is_not_kept
from napari_iseg.disk_cache import DiskCache
from napari_iseg.errors import InputError
from napari_iseg.evaluation.report import report_folder
from napari_iseg.fewshot.cluster import check_scheduler

CLICK = ("--click", "30,40")


def refused(ended, *words):
    assert ended.code == 2, ended.err
    assert ended.err.count("\n") == 1
    assert ended.out == ""
    for word in words:
        assert word in ended.err


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["demo", "--headless", ""], "--headless"),
        (["segment", ""], "IMAGE"),
        (["segment", "x.tif", "-o", ""], "--output"),
        (["segment", "x.tif", "--output="], "--output"),
        (["segment", "x.tif", "--click", "1,2", "--click", ""], "--click"),
        (["segment", "x.tif", "-m", ""], "--model"),
        (["propagate", "x.tif", "y.tif", ""], "OUT"),
        (["evaluate", "x", "a.zip", ""], "DATASETS"),
        (["models", "import", "x.pth", "--licence", ""], "--licence"),
    ],
)
def test_what_is_empty_is_named(run, tmp_path, monkeypatch, arguments, name):
    monkeypatch.chdir(tmp_path)
    refused(run(*arguments), f"{name} is empty, as of a shell variable that is not set; give it a value")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["segment", "--click"], "`napari-iseg segment --help`"),
        (["models", "show"], "`napari-iseg models show --help`"),
        (["demo", "--json"], "--json needs --headless DIR"),
        (["demo", "--overwrite"], "--overwrite needs --headless DIR"),
        (["segment", ".", *CLICK], "give a file in it, or the folder of a zarr image"),
        (["segment", "empty.png", *CLICK], "empty.png is empty"),
        (["segment", "empty.tif", *CLICK], "empty.tif is empty"),
        (["segment", "stack.tif", *CLICK, "--plane", "1,2"], "whose planes have 1 number(s); write it like"),
        (
            ["segment", "stack.tif", *CLICK, "--plane", "99"],
            "there are 3, counted from 0; the last is --plane 2",
        ),
        (["segment", "stack.tif", *CLICK, "--embeddings", "stack.tif"], "'--embeddings'"),
        (["train", "."], ". is a folder; give the recipe in it"),
        (["propagate", "stack.tif", "stack.tif", "o.zarr", "--region", "no.json"], "path of --region"),
        (["propagate", "stack.tif", "some.tif", "o.zarr", "--planes", "5:3"], "ends before 3"),
        (
            ["propagate", "stack.tif", "some.tif", "o.zarr", "--planes", "100:300"],
            "No plane was chosen: there are 3",
        ),
    ],
)
def test_refusals_say_what_there_is_and_what_to_do(run, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    for name in ("empty.png", "empty.tif"):
        (tmp_path / name).touch()
    stack = np.zeros((3, 40, 60), np.uint8)
    tifffile.imwrite("stack.tif", stack, photometric="minisblack")
    stack[0, :9] = 1
    tifffile.imwrite("some.tif", stack, photometric="minisblack")
    refused(run(*arguments), words)


@pytest.mark.parametrize("columns", ["40", "100"])
def test_groups_alike_and_options_whole(run, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    ended = run("models")
    assert (ended.code, ended.err) == (0, "")
    assert "verify" in ended.out
    assert "--accept-licence" in run("models", "fetch", "--help").out


@pytest.mark.parametrize("address", ["xxx", "tcp://10.0.0.1", "10.0.0.1:8786"])
def test_what_is_no_address_of_a_scheduler_is_not_waited_for(address):
    pytest.importorskip("distributed")
    with pytest.raises(InputError, match="is no address of a Dask scheduler; write it as tcp://"):
        check_scheduler(address)


def test_a_client_that_could_not_begin_is_closed(capfd):
    pytest.importorskip("distributed")
    with pytest.raises(InputError, match="No Dask scheduler answers at xyz://"):
        check_scheduler("xyz://127.0.0.1:9")
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.usefixtures("bright")
def test_embeddings_that_are_not_kept_are_said_once(run, squares_file, tmp_path, capfd):
    ended = run("segment", squares_file, *CLICK, "-o", tmp_path / "m.tif", "--embeddings", tmp_path / "e")
    assert ended.code == 0
    assert "computes nothing once per image, so nothing was kept" in ended.err
    _say_what_is_not_kept(SimpleNamespace(nbytes=9, disk=DiskCache(tmp_path / "e", 1)), "sam", "1 MB")
    assert "a picture takes more than --embeddings-limit 1 MB" in " ".join(capfd.readouterr().err.split())


def test_one_report_at_a_time(run, tmp_path: Path) -> None:
    out = tmp_path / "new" / "report"
    with report_folder(out, overwrite=False):
        ended = run("evaluate", "cfr-icl-starter", tmp_path, "--out", out, "--overwrite")
        refused(ended, "Another process is writing a report in", "give another --out")
    assert not out.exists()
    with report_folder(out, overwrite=False):
        (out / "report.json").touch()
    assert [path.name for path in out.iterdir()] == ["report.json"]
    with pytest.raises(InputError, match="exists already"), report_folder(out, overwrite=False):
        pytest.fail("it ran")
