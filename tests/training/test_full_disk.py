"""A full disk or a power cut while a run writes: what was there stays whole, and no halves lie about."""

from __future__ import annotations

import csv
import errno
from pathlib import Path
from typing import Any

import pytest

from napari_iseg.errors import InputError, SaveError
from napari_iseg.training.export import plot_curves
from napari_iseg.training.log import Log, Progress, read_log
from napari_iseg.training.recipe import Recipe
from napari_iseg.training.run import _recorder
from napari_iseg.training.same import claim


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def step(number: int, **terms: float) -> Progress:
    return Progress(number, 9, loss=0.5, rate=1e-3, seconds=1.0, scores={}, terms=terms)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.csv"
    written = Log(path, 0)
    written.add(step(1))
    written.add(step(2))
    return path


def test_a_new_column_that_cannot_be_written_leaves_the_log(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = log.read_bytes()
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(SaveError, match=r"^\S+log.csv could not be written \(No space left on device\)"):
        _recorder(log.parent, None)(step(3, dice=0.1))
    assert log.read_bytes() == before
    assert [path.name for path in log.parent.iterdir()] == ["log.csv"]


def test_a_row_that_is_cut_off_is_taken_back(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = _recorder(log.parent, None)
    record(step(3))
    before = log.read_bytes()

    def cut(self: Any, row: dict[str, object]) -> None:
        self.writer.writerow([1])
        full()

    monkeypatch.setattr(csv.DictWriter, "writerow", cut)
    with pytest.raises(SaveError, match=r"^The log \S+log.csv could not be written: No space left on device"):
        record(step(12))
    assert log.read_bytes() == before
    assert [row["step"] for row in read_log(log)[1]] == ["1", "2", "3"]


def test_a_recipe_that_cannot_be_kept_leaves_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as now:
        now.setattr("os.fsync", full)
        now.setattr(Path, "write_text", full)
        with pytest.raises(
            SaveError, match=r"^\S+recipe.txt could not be written \(No space left on device\)"
        ):
            claim(Recipe("tiny"), tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []
    claim(Recipe("tiny"), tmp_path / "run")


def test_curves_that_cannot_be_written_leave_the_old_ones(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    curves = log.with_name("curves.png")
    plot_curves(log, curves)
    before = curves.read_bytes()
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(SaveError, match=r"^\S+curves.png could not be written \(No space left on device\)"):
        plot_curves(log, curves)
    assert curves.read_bytes() == before
    assert sorted(path.name for path in log.parent.iterdir()) == ["curves.png", "log.csv"]


@pytest.mark.parametrize("row", [b",1\n", b"x,1\n", b"3\xff,1\n", b"3,0.5,1e-3,1,7\n"])
def test_a_log_with_a_damaged_row_is_named_and_kept(log: Path, row: bytes) -> None:
    with log.open("ab") as file:
        file.write(row)
    before = log.read_bytes()
    with pytest.raises(InputError, match=r"log\.csv holds a row that is no training step; mend it"):
        Log(log, 2)
    assert log.read_bytes() == before


@pytest.mark.parametrize("tail", [b"\0" * 40, b"2,0.5,0.0", b"3,0.5\0\0\0\0"])
def test_a_log_that_a_power_cut_left_half_written_goes_on(log: Path, tail: bytes) -> None:
    with log.open("ab") as file:
        file.write(tail)
    plot_curves(log, log.with_name("curves.png"))
    Log(log, 2).add(step(3))
    assert [row["step"] for row in read_log(log)[1]] == ["1", "2", "3"]
    assert b"\0" not in log.read_bytes()
    log.write_bytes(b"\0" * 40)
    Log(log, 2).add(step(3, dice=0.1))
    assert [row["loss_dice"] for row in read_log(log)[1]] == ["0.1"]
