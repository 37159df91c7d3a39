"""A methods person: code and recipe of the tutorial, registered, trained, killed, resumed, measured."""

from __future__ import annotations

import json
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import napari_iseg as iseg
from napari_iseg import backends
from napari_iseg.backends.titles import good_at, title_of
from napari_iseg.cli import main
from napari_iseg.training import task
from napari_iseg.training.log import read_log
from napari_iseg.training.synthetic import random_scene

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorials" / "methods-person.md"


def blocks(kind: str) -> list[str]:
    """The tutorial's code blocks of a kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", TUTORIAL.read_text(encoding="utf-8"), re.M | re.S)


def module(name: str, code: str, folder: Path) -> ModuleType:
    file = folder / f"{name.replace('.', '_')}.py"
    file.write_text(code, encoding="utf-8")
    spec = spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    made = module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


@pytest.fixture
def loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Both files where the tutorial puts them, and its two lines of registration; the file with the loss."""
    lines = [json.loads("{" + line.rstrip().rstrip(",") + "}") for line in blocks("text")]
    homes = {key: home for line in lines for key, home in line.items()}
    assert homes == {"blur": "napari_iseg.training.blur:BlurTask"}
    monkeypatch.setattr(backends, "BACKENDS", backends._Backends({**backends.BACKENDS._homes, **lines[0]}))  # type: ignore[attr-defined]
    monkeypatch.setattr(task, "TASKS", {**task.TASKS, **lines[1]})
    for name in ("napari_iseg.backends.blur", "napari_iseg.training.blur"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))  # taken away again after the test
    _, network, objective = blocks("python")
    module("napari_iseg.backends.blur", network, tmp_path)
    return module("napari_iseg.training.blur", objective, tmp_path)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the made set, as the tutorial's lines leave it."""
    monkeypatch.chdir(tmp_path)
    exec(blocks("python")[0], {})
    return tmp_path / "data"


def test_a_method_of_ones_own(
    loss: ModuleType,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("NAPARI_ISEG_HOME", str(tmp_path / "home"))
    recipe = tmp_path / "blur.toml"
    recipe.write_text(blocks("toml")[0], encoding="utf-8")

    def run(*arguments: object) -> Any:
        capsys.readouterr()
        main([*map(str, arguments), "--json"])
        return json.loads(capsys.readouterr().out)

    whole = run("train", recipe, "--data", data, "--out", tmp_path / "never-killed")
    names, rows = read_log(tmp_path / "never-killed" / "log.csv")
    assert {"loss_outline", "loss_dice", "loss_focal"} <= set(names)
    assert len(rows) == 6

    objective, steps = loss.BlurTask.objective, []

    def killed(self: Any, step: Any, *clicks: int) -> Any:
        steps.append(len(steps))
        if len(steps) == 4:
            raise KeyboardInterrupt
        return objective(self, step, *clicks)

    monkeypatch.setattr(loss.BlurTask, "objective", killed)
    with pytest.raises(SystemExit, match="130"):
        run("train", recipe, "--data", data, "--out", tmp_path / "runs")
    monkeypatch.setattr(loss.BlurTask, "objective", objective)
    resumed = run("train", recipe, "--data", data, "--out", tmp_path / "runs")
    assert resumed["sha256"] == whole["sha256"], "killed and resumed ends as never killed"

    run("models", "import", Path(resumed["folder"]) / "model.safetensors")
    listed = {card["name"]: card for card in run("models", "list", "--here")}
    assert listed["blur-mine"]["backend"] == "blur"
    assert listed["blur-mine"]["licence"] == "BSD-3-Clause"
    assert (title_of("blur"), good_at("blur")) == ("Blur", "showing where a new method goes")
    found = run(
        "evaluate", "blur-mine", data / "nuclei", "--split", "validation", "--max-clicks", 3,
        "--max-objects", 2, "--device", "cpu", "--out", tmp_path / "report",
    )  # fmt: skip
    assert found["reports"][0]["method"] == "blur-mine"
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "report.json", "report.md", "nuclei_curve.png", "nuclei_noc.png",
    }  # fmt: skip
    image = random_scene(np.random.default_rng(9), 70)[0]
    mask = iseg.Session(image, iseg.load_model("blur-mine"), rgb=True).click((30, 30))
    assert mask.shape == (70, 70)
