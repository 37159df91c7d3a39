"""Few-shot evaluation of several data sets in one command: names, and what an error leaves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_iseg.cli import main
from napari_iseg.errors import InputError
from napari_iseg.evaluation.fewshot_stacks import Stack
from napari_iseg.evaluation.fewshot_volumes import VolumeReport, evaluate_volume
from napari_iseg.fewshot.baselines import CopyNearest


@pytest.fixture(autouse=True)
def copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_iseg.fewshot.models.load_fewshot", lambda *_, **__: CopyNearest())


def save_cone(folder: Path) -> str:
    """A volume "c" of 20 slices with one body; answers with its image file."""
    z, rows, cols = np.mgrid[:20, :48, :48]
    labels = np.where((rows - 24) ** 2 + (cols - 24) ** 2 < (6 + 0.6 * z) ** 2, 5, 0).astype(np.uint16)
    folder.mkdir()
    tifffile.imwrite(folder / "c_image.tif", labels.astype(np.uint8) * 40, photometric="minisblack")
    tifffile.imwrite(folder / "c_labels.tif", labels, photometric="minisblack")
    return str(folder / "c_image.tif")


def test_volumes_of_one_name_are_told_apart_and_an_error_keeps_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing_on_the_second(method: CopyNearest, stack: Stack, **options: object) -> VolumeReport:
        if stack.name == "c-2":
            raise InputError("The second volume fails.")
        return evaluate_volume(method, stack, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("napari_iseg.evaluation.fewshot_volumes.evaluate_volume", failing_on_the_second)
    out = tmp_path / "out"
    paths = [save_cone(tmp_path / "a"), save_cone(tmp_path / "b")]
    with pytest.raises(SystemExit):
        main(["evaluate", "copy-nearest", *paths, "--out", str(out)])
    shown, err = capsys.readouterr()
    assert "The second volume fails." in err
    assert "| c | copy-nearest | 20 |" in shown
    assert [r["dataset"] for r in json.loads((out / "fewshot.json").read_text())["volumes"]] == ["c"]
    assert (out / "c_volume.png").is_file()


def test_a_single_image_whose_right_part_is_bare_cannot_validate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = np.zeros((80, 80), np.uint16)
    labels[10:70, 10:40] = 1
    tifffile.imwrite(tmp_path / "e_image.tif", labels.astype(np.uint8))
    tifffile.imwrite(tmp_path / "e_labels.tif", labels)
    with pytest.raises(SystemExit):
        main(["evaluate", "copy-nearest", str(tmp_path / "e_image.tif"), "--split", "validation"])
    assert "has a single image" in capsys.readouterr().err
