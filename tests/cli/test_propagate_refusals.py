"""What ``napari-iseg propagate`` refuses is one sentence and exit code 2, and what was there stays."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_iseg.cli.objects import check_split
from napari_iseg.errors import InputError
from napari_iseg.labels.store import LabelStore

sys.path.insert(0, str(Path(__file__).parents[1] / "fewshot"))

from run_fakes import GreyPredictor, blobs, disk_full_once, sparse

VOLUME, TRUTH = blobs()
Command = Callable[..., Any]


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the result goes; every few-shot model is the fake one."""
    monkeypatch.setattr("napari_iseg.fewshot.predictors._load", lambda *_: GreyPredictor())
    (tmp_path / "results").mkdir()
    return tmp_path / "results" / "rest.zarr"


def files(out: Path, volume: Any = VOLUME, labels: Any = None) -> tuple[Path, Path, Path]:
    """A stack and its annotation beside the folder of results."""
    stack, some = out.parents[1] / "stack.tif", out.parents[1] / "some.tif"
    painted = (sparse(TRUTH, 2) if labels is None else labels).astype(np.uint16)
    tifffile.imwrite(stack, volume, photometric="minisblack")
    tifffile.imwrite(some, painted, photometric="minisblack")
    return stack, some, out


def refused(ended: Any, sentence: str) -> None:
    assert ended.code == 2, ended.err
    assert sentence in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert not ended.out.strip()


@pytest.mark.parametrize(
    ("volume", "labels", "sentence"),
    [
        (VOLUME, np.zeros_like(TRUTH), "No slice or tile holds a label"),
        (VOLUME[:1], TRUTH[:1], "annotated already"),
        (VOLUME, TRUTH[:3], "needs labels of (5, 24, 24)"),
    ],
)
def test_annotation_from_which_nothing_follows(
    run: Command, out: Path, volume: Any, labels: Any, sentence: str
) -> None:
    refused(run("propagate", *files(out, volume, labels)), sentence)
    assert not list(out.parent.iterdir())


def test_one_slice_with_a_part_of_it_annotated(run: Command, out: Path) -> None:
    part = TRUTH[:1].copy()
    part[:, :, 12:] = 0
    ended = run("propagate", *files(out, VOLUME[:1], part), "--partial", "--tile", "4096", "--json")
    assert ended.code == 0, ended.err
    assert ended.json["units"] == 1


@pytest.mark.parametrize("value", [np.nan, 0.5, np.inf])
def test_empty_slices_are_background(run: Command, out: Path, value: float) -> None:
    volume = VOLUME.astype(np.float32)
    volume[4] = value
    ended = run("propagate", *files(out, volume), "--json")
    assert ended.code == 0, ended.err
    assert not LabelStore.open(out).levels[0][4].any()


def test_broken_files_are_named(run: Command, out: Path) -> None:
    stack, some, _ = files(out)
    stack.write_bytes(b"II*\0 no picture at all")
    refused(run("propagate", stack, some, out), "stack.tif could not be read as a TIFF image")
    refused(run("propagate", stack.with_name("gone.tif"), some, out), "There is no file")


def test_labels_removed_between_runs_leave_the_result(run: Command, out: Path) -> None:
    given = files(out)
    assert run("propagate", *given).code == 0
    before = LabelStore.open(out).levels[0][...]
    files(out, labels=np.zeros_like(TRUTH))
    for choice in ("--resume", "--overwrite"):
        refused(run("propagate", *given, choice), "No slice or tile holds a label")
        np.testing.assert_array_equal(LabelStore.open(out).levels[0][...], before)
    files(out)
    assert run("propagate", *given, "--resume", "--json").json["computed"] == 0, "its record is there as well"
    one = sparse(TRUTH, 2)
    one[one == 2] = 0
    files(out, labels=one)
    assert run("propagate", *given, "--resume").code == 0
    assert set(np.unique(LabelStore.open(out).levels[0][...])) == {0, 1}


def test_overwriting_leaves_nothing_of_the_old_result(run: Command, out: Path) -> None:
    given = files(out)
    for choice in ((), ("--overwrite",), ("--overwrite",)):
        assert run("propagate", *given, *choice).code == 0
        assert sorted(path.name for path in out.parent.iterdir()) == ["rest.zarr", "rest.zarr.run"]


def test_a_scheduler_that_is_not_there_is_found_out_first(
    run: Command, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_iseg.fewshot.cluster._TIMEOUT", 0.5)
    given = files(out)
    refused(run("propagate", *given, "--scheduler", "tcp://127.0.0.1:9"), "No Dask scheduler answers")
    assert not list(out.parent.iterdir())
    assert run("propagate", *given).code == 0


def test_full_disk_then_resumed(run: Command, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk_full_once(monkeypatch)
    given = files(out)
    refused(run("propagate", *given), "No space left on device")
    ended = run("propagate", *given, "--resume", "--json")
    assert ended.json["kept"] == 2
    np.testing.assert_array_equal(LabelStore.open(out).levels[0][...], TRUTH)


def test_a_place_that_cannot_be_written_to(run: Command, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack, some, _ = files(out)
    refused(run("propagate", stack, some, out.with_name("no") / "rest.zarr"), "does not exist")
    allowed = os.access
    monkeypatch.setattr(
        "napari_iseg.files.os.access",
        lambda path, mode: Path(path) != out.parent and allowed(path, mode),
    )
    refused(run("propagate", stack, some, out), "cannot be written to")


@pytest.mark.parametrize("name", [".", "/", "rest.tif"])  # "" is refused before, see test_typed.py
def test_a_name_that_is_none_of_an_output(run: Command, out: Path, name: str) -> None:
    refused(run("propagate", *files(out)[:2], name), "must end in .zarr")


def test_a_split_that_could_not_be_obeyed_is_refused(run: Command, out: Path) -> None:
    ended = run("propagate", *files(out), "--objects", "3", "--split", "0")
    refused(ended, "--split must be above 0 pixels, got 0")
    with pytest.raises(InputError, match="--split needs --objects"):
        check_split(None, 2)
    check_split(None, None)
    check_split(3, 0.5)
