"""A core facility's night: stacks in a loop; one is broken, one not annotated, of one a slice fails."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_iseg.cli import main
from napari_iseg.fewshot.baselines import Interpolation
from napari_iseg.labels.store import LabelStore

DEPTH = 9


def ball(radius: float) -> np.ndarray[Any, Any]:
    z, y, x = np.mgrid[:DEPTH, :32, :32]
    return ((z - 4) ** 2 * 4 + (y - 16) ** 2 + (x - 16) ** 2 <= radius**2).astype(np.uint16)


@pytest.fixture
def stacks(tmp_path: Path) -> Path:
    """Five stacks with every fourth slice annotated; one cannot be read, of one nobody annotated a slice."""
    for name in ("stacks", "labels", "out"):
        (tmp_path / name).mkdir()
    for number, name in enumerate(("a", "b", "broken", "c", "empty")):
        truth = ball(9 + number)
        known = np.zeros_like(truth)
        known[::4] = truth[::4] * (name != "empty")
        tifffile.imwrite(tmp_path / "stacks" / f"{name}.tif", (truth * 90).astype(np.uint8))
        tifffile.imwrite(tmp_path / "labels" / f"{name}.tif", known)
    (tmp_path / "stacks" / "broken.tif").write_bytes(b"II*\0 the disk was pulled out")
    return tmp_path


def written(folder: Path, *names: str) -> dict[Path, int]:
    """When the pixels of the results, labels and objects, were written."""
    found = [p for name in names for p in folder.glob(f"{name}*.zarr/[0-9]*/c/**/*") if p.is_file()]
    assert len(found) >= 2 * len(names)
    return {path: path.stat().st_mtime_ns for path in found}


@dataclass
class Night:
    """What a shell's loop knows afterwards: exit codes, one JSON document per stack, the common log."""

    codes: dict[str, int]
    answers: dict[str, dict[str, Any]]
    log: list[str]


@pytest.fixture
def loop(stacks: Path, capfd: pytest.CaptureFixture[str]) -> Any:
    """``for stack in stacks/*.tif; do napari-iseg propagate ... --resume --json > out/NAME.json 2>> log``."""

    def run(model: str = "interpolation") -> Night:
        night = Night({}, {}, [])
        for stack in sorted((stacks / "stacks").iterdir()):
            name, code = stack.stem, 0
            capfd.readouterr()
            given = [stack, stacks / "labels" / stack.name, stacks / "out" / f"{name}.zarr"]
            try:
                main(["propagate", *map(str, given), "-m", model, "--objects", "3", "--resume", "--json"])
            except SystemExit as ended:
                code = int(ended.code or 0)
            out, err = capfd.readouterr()
            night.codes[name] = code
            night.answers[name] = json.loads(out) if out.strip() else {}
            night.log += err.strip().splitlines()
        return night

    return run


def test_a_night_of_stacks_and_the_morning_after(
    loop: Any, stacks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict, tries = Interpolation.predict_unit, []

    def bad_memory(self: Interpolation, image: Any, position: Any, supports: Any, *rest: Any) -> Any:
        tries.append(position)
        if position == (6.0,) and supports[0].mask.sum() == reach["c"]:
            raise MemoryError("the node has no memory left")
        return predict(self, image, position, supports, *rest)

    reach = {"c": int(ball(12)[0].sum())}
    monkeypatch.setattr(Interpolation, "predict_unit", bad_memory)
    night = loop()

    assert night.codes == {"a": 0, "b": 0, "broken": 2, "c": 3, "empty": 2}
    assert len(night.log) == 3, night.log
    assert "broken.tif could not be read" in night.log[0]
    assert "c.zarr" in night.log[1]
    assert "plane 6 (MemoryError: the node has no memory left)" in night.log[1]
    assert "empty.tif: No slice or tile holds a label" in night.log[2]
    assert night.answers["c"]["failed"][0]["where"] == "plane 6"
    assert night.answers["a"]["units"] == DEPTH
    assert not (stacks / "out" / "empty.zarr").exists()
    done = LabelStore.open(stacks / "out" / "c.zarr").levels[0][...]
    assert done[5].any(), "all but the failed slice is there"
    assert not done[6].any()

    # The morning: the node is well, somebody annotated the empty stack; the same loop does what is missing.
    monkeypatch.setattr(Interpolation, "predict_unit", predict)
    known = np.zeros_like(ball(13))
    known[::4] = ball(13)[::4]
    tifffile.imwrite(stacks / "labels" / "empty.tif", known)
    before = written(stacks / "out", "a", "b")
    morning = loop()
    assert morning.codes == {"a": 0, "b": 0, "broken": 2, "c": 0, "empty": 0}
    computed = {name: answer.get("computed") for name, answer in morning.answers.items()}
    assert computed == {"a": 0, "b": 0, "broken": None, "c": 1, "empty": DEPTH}
    assert before == written(stacks / "out", "a", "b"), "what is finished is not touched"
    counts = {name: answer["objects"]["count"] for name, answer in morning.answers.items() if answer}
    assert counts == {"a": 1, "b": 1, "c": 1, "empty": 1}
    for name, radius in (("a", 9), ("b", 10), ("c", 12), ("empty", 13)):
        found = LabelStore.open(stacks / "out" / f"{name}.zarr").levels[0][...]
        truth = ball(radius)
        assert 2 * (found * truth).sum() / (found.sum() + truth.sum()) > 0.85
        np.testing.assert_array_equal(found[::4], truth[::4])
