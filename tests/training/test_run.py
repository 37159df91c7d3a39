"""A whole run from the command line: data, training, validation, curves, a model that loads and answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from skimage.io import imsave

from napari_iseg import Session, load_model
from napari_iseg.cli import main
from napari_iseg.errors import CheckpointError, InputError
from napari_iseg.training.click_task import ClickTask
from napari_iseg.training.export import export
from napari_iseg.training.log import read_log
from napari_iseg.training.recipe import read_recipe
from napari_iseg.training.run import train
from napari_iseg.training.synthetic import random_scene

RECIPE = """
name = "tiny"
title = "Tiny"
workers = 1
keep_every = 2

[variant]
trunk = "conv"
widths = [16, 16, 16, 32]
depths = [1, 1, 1, 1]
sweeps = 4

[samples]
size = 32

[optim]
steps = 4
batch = 2
warmup = 1

[validation]
every = 2
objects = 2
max_clicks = 2
share = 0.25

[scenes]
count = 2
size = 96

[inference]
window = "scale-search"
size = [32, 32]
flip = false
search_sides = [32, 64]

[[data]]
path = "made"
kind = "instances"
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for name in ("images", "labels"):
        (root / "made" / name).mkdir(parents=True)
    for i, word in enumerate(("oak", "elm", "ash", "fir", "yew", "box", "bay", "fig")):
        image, labels = random_scene(np.random.default_rng(i), 80)
        imsave(root / "made" / "images" / f"{word}.png", image, check_contrast=False)
        imsave(root / "made" / "labels" / f"{word}.png", labels.astype(np.uint16), check_contrast=False)
    return root


def test_train_writes_a_model_that_answers_clicks(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE)
    out = tmp_path / "run"
    arguments = ["train", str(recipe), "--data", str(data), "--out", str(out), "--json"]
    main(arguments)
    answer = json.loads(capsys.readouterr().out)
    assert Path(answer["folder"]) == out / "tiny"
    assert (out / "curves.png").stat().st_size > 1000
    names, rows = read_log(out / "log.csv")
    assert len(rows) == 4
    assert {"loss_focal", "loss_quality", "score", "noc", "iou"} < set(names)
    assert float(rows[1]["noc"]) == float(rows[1]["score"])  # validation after step 2
    model = load_model(out / "tiny")
    assert model.card.training["steps"] == 4
    mask = Session(np.random.default_rng(0).random((50, 60)), model).click((20, 30))
    assert mask.shape == (50, 60)
    capsys.readouterr()
    main(arguments)
    assert "4/4" not in capsys.readouterr().err, "in a log there is no bar"
    monkeypatch.setattr("napari_iseg.cli.common.errors", Console(stderr=True, force_terminal=True))
    main(arguments)
    assert "4/4" in capsys.readouterr().err, "a finished run has no step to take"


def test_a_folder_with_another_run_is_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.txt").write_text("another\n")
    arguments = ["train", str(recipe), "--data", str(data), "--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "another recipe" in capsys.readouterr().err


def test_missing_data_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE)
    with pytest.raises(SystemExit, match="2"):
        main(["train", str(recipe), "--data", str(tmp_path), "--out", str(tmp_path / "run")])
    assert "'made' is not in" in capsys.readouterr().err


def test_the_exported_weights_may_lie_between_start_and_end(tmp_path: Path, data: Path) -> None:
    models = {}
    for share in (0.0, 0.5, 1.0):
        recipe = tmp_path / f"r{share}.toml"
        recipe.write_text(RECIPE.replace("warmup = 1", f"warmup = 1\nstart_share = {share}"))
        train(read_recipe(recipe), tmp_path / str(share), data)
        models[share] = load_model(tmp_path / str(share) / "tiny", device="cpu").net.state_dict()
    for key, middle in models[0.5].items():
        if middle.is_floating_point():
            expected = 0.5 * (models[0.0][key] + models[1.0][key])
            assert torch.allclose(middle, expected, atol=2e-3), key  # half precision
    assert any(not torch.equal(models[0.0][key], models[1.0][key]) for key in models[0.0])
    recipe.write_text(RECIPE.replace("warmup = 1", "warmup = 1\nstart_share = 2.0"))
    with pytest.raises(InputError, match="from 0 to 1"):
        train(read_recipe(recipe), tmp_path / "bad", data)


def test_weights_too_large_for_16_bits_are_exported_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(RECIPE)
    recipe = read_recipe(tmp_path / "tiny.toml")
    state = ClickTask().build(recipe).state_dict()
    size = export(recipe, state, tmp_path / "half", {}).size_bytes
    state["out.weight"][0, 0] = 7e4
    card = export(recipe, state, tmp_path / "whole", {})
    assert card.size_bytes > 1.5 * size
    loaded = load_model(tmp_path / "whole", device="cpu").net.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())
    state["out.weight"][0, 0] = float("nan")
    with pytest.raises(CheckpointError, match=r"NaN or infinity in 'out.weight', so no model was exported"):
        export(recipe, state, tmp_path / "none", {})
    assert not (tmp_path / "none").exists()
