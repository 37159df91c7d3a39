"""A result that is damaged when a later run writes into it, and what a killed one left by its supports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from run_fakes import GreyPredictor, blobs, sparse

from napari_iseg.errors import DamageError
from napari_iseg.fewshot.frame import Frame, Grid
from napari_iseg.fewshot.output import Output
from napari_iseg.fewshot.preparing import run_folder
from napari_iseg.fewshot.propagate import propagate
from napari_iseg.files import temporary_beside
from napari_iseg.labels.metadata import Space
from napari_iseg.prompts import Window

WINDOW = Window(0, 0, 32, 32)


def outputs(path: Path) -> Output:
    frame, grid = Frame.of((2, 1100, 600)), Grid((1100, 600), 512, 0)
    return Output(path, frame, grid, (1,), Space.make(3), probability=True)


@pytest.mark.parametrize("name", ["0", "1", "probability"])
def test_a_damaged_part_that_stays_is_told_in_a_sentence(tmp_path: Path, name: str) -> None:
    output = outputs(tmp_path / "rest.zarr")
    ones, inside = np.ones((32, 32), np.uint32), np.eye(32, dtype=bool)
    output.write((0,), WINDOW, ones, ones[None].astype(np.float32))
    for chunk in (tmp_path / "rest.zarr" / name / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"broken")
    again = outputs(tmp_path / "rest.zarr")
    with pytest.raises(DamageError, match=r"rest.zarr could not be read as labels \(.*undamaged copy"):
        again.write((0,), WINDOW, ones, ones[None].astype(np.float32), inside)


def test_damaged_trust_is_told_in_a_sentence(tmp_path: Path) -> None:
    output = outputs(tmp_path / "rest.zarr")
    output.finish(np.ones((2, *output.grid.count), np.float32), 1)
    (chunk,) = (path for path in (tmp_path / "rest.zarr" / "trust" / "c").rglob("*") if path.is_file())
    chunk.write_bytes(b"broken")
    with pytest.raises(DamageError, match=r"rest.zarr could not be read as labels \(.*undamaged copy"):
        output.trust()


def test_a_resume_sweeps_what_a_killed_run_left_beside_its_supports(tmp_path: Path) -> None:
    volume, truth = blobs()
    out, labels = tmp_path / "rest.zarr", sparse(truth, 2)
    propagate(volume, labels, out, GreyPredictor())
    supports = run_folder(out) / "supports"
    before = sorted(supports.iterdir())
    mine = temporary_beside(supports / "x.npz")
    machine, process, *_ = mine.name.split(".")[3].split("-")
    left = mine.with_name(mine.name.replace(f"{machine}-{process}", f"{machine}-999999999"))
    left.touch()
    propagate(volume, labels, out, GreyPredictor(), existing="resume")
    assert sorted(supports.iterdir()) == before
