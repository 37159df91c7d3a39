"""Two processes that train in one folder: the second is refused, and what was there stays as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from napari_iseg import locks
from napari_iseg.errors import InputError, SaveError
from napari_iseg.evaluation.alone import alone
from napari_iseg.training.fit import Trainer
from napari_iseg.training.recipe import DataRecipe, Recipe
from napari_iseg.training.run import train

TINY = {"trunk": "conv", "widths": [16, 16, 16, 32], "depths": [1, 1, 1, 1], "sweeps": 1}
RECIPE = Recipe("tiny", variant=TINY, data=(DataRecipe("made"),))


def test_a_folder_in_which_another_process_trains_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "tiny"
    with alone(run, "training"):
        with pytest.raises(InputError, match=r"Another process is training in \S+tiny; wait .*another --out"):
            train(RECIPE, run, tmp_path)
        (run / "log.csv").touch()
    with alone(run, "training"):  # let go again
        assert (run / "log.csv").exists()


def test_a_run_that_is_refused_leaves_no_folder_but_one_that_was_there(tmp_path: Path) -> None:
    for folder in ("new", "old"):
        (tmp_path / "old").mkdir(exist_ok=True)
        with pytest.raises(InputError, match="'made' is not in"):
            train(RECIPE, tmp_path / folder, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = pytest.raises(SaveError, match=r"folder \S+run cannot be used \(\w.*\); give another --out")
    with said, alone(tmp_path / "file" / "run", "training"):
        pytest.fail("it ran")


def test_a_folder_that_one_who_was_refused_takes_away_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, real = tmp_path / "run", locks.acquired

    def acquired(path: Path, timeout: float) -> Any:
        monkeypatch.setattr(locks, "acquired", real)
        path.parent.rmdir()
        return real(path, timeout)

    monkeypatch.setattr(locks, "acquired", acquired)
    with alone(run, "training"):
        assert (run / ".lock").exists()
    assert not run.exists()


def test_without_locks_no_checkpoint_is_written_into_another_process_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []

    def save(self: Any, path: Path, state: Any) -> None:
        names.append(path.name)
        torch.save(state, path)

    monkeypatch.setattr("lightning_fabric.Fabric.save", save)
    (tmp_path / "disk").mkdir()
    (tmp_path / "last.ckpt").symlink_to(tmp_path / "disk" / "kept.ckpt")
    for step in range(2):
        Trainer(RECIPE, None, tmp_path)._save(tmp_path / "last.ckpt", {"step": step})  # type: ignore[arg-type]
    assert len(set(names)) == 2
    assert torch.load(tmp_path / "disk" / "kept.ckpt") == {"step": 1}
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["kept.ckpt"]
