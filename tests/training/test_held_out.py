"""Runs that have nothing to be scored on: refused, or said so; never scored with NaN."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_run import TINY, rectangles

from napari_iseg.backends.cards import CARD_FILE, read_card
from napari_iseg.cli import main
from napari_iseg.errors import InputError
from napari_iseg.evaluation.datasets import open_dataset
from napari_iseg.training.held_out import UNSCORED
from napari_iseg.training.load import open_sets
from napari_iseg.training.log import read_log
from napari_iseg.training.recipe import Recipe, SceneRecipe
from napari_iseg.training.run import train
from napari_iseg.training.task import TASKS, task_for


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """One picture, of which the right part, which would validate, is bare."""
    return rectangles(tmp_path, 80, 1)


def test_a_validation_part_without_an_object_is_refused_before_the_first_step(
    data: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"share of 0.2 that is held out of made has no object; add pict"):
        train(TINY, tmp_path / "run", data)
    assert not (tmp_path / "run").exists()  # nor is the folder taken by a recipe that never ran


@pytest.mark.parametrize("seed", [0, 1])
def test_a_set_of_which_nothing_is_left_to_train_on_says_why(seed: int, tmp_path: Path) -> None:
    rectangles(tmp_path, 64, 2)
    recipe = replace(TINY, validation=replace(TINY.validation, seed=seed))
    said = (
        r"set 'made' is left to train on: 1 of 2 pictures are left out, as they lie in a series .*set share"
    )
    with pytest.raises(InputError, match=said):
        open_sets(recipe, tmp_path)


def test_pictures_that_neither_train_nor_validate_are_told(tmp_path: Path) -> None:
    rectangles(tmp_path, 64, 8)
    told: list[str] = []
    _, train_part, held_out = open_sets(TINY, tmp_path, told.append)[0]
    left = 8 - len(train_part) - len(held_out)
    assert len(told) == 1
    assert told[0].startswith(f"In the set made, {left} of 8 pictures are left out, as they lie")
    train(replace(TINY, optim=replace(TINY.optim, steps=1)), tmp_path / "run", tmp_path, tell=told.append)
    assert told[1] == told[0]
    open_sets(replace(TINY, validation=replace(TINY.validation, share=0.0)), tmp_path, told.append)
    assert len(told) == 2


def test_the_card_tells_what_was_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rectangles(tmp_path, 64, 8)
    recipe = replace(TINY, validation=replace(TINY.validation, share=0.3, seed=4))
    train(recipe, tmp_path / "run", tmp_path)
    left = [item.name for item in open_sets(recipe, tmp_path)[0][2]]
    told = read_card(tmp_path / "run" / "tiny").training["held_out"]
    assert told == {"share": 0.3, "seed": 4, "sets": [{"set": "made", "axis": 0, "images": left}]}
    model, out = str(tmp_path / "run" / "tiny"), tmp_path / "report"
    options = ["--split", "validation", "--max-clicks", "1", "--device", "cpu", "--out", str(out)]
    main(["evaluate", model, str(tmp_path / "made"), *options])
    objects = json.loads((out / "report.json").read_text())[0]["objects"]
    assert sorted({one["image"] for one in objects}) == left


@pytest.mark.parametrize("backend", TASKS)
def test_no_kind_of_training_scores_nothing(backend: str, data: Path) -> None:
    recipe = Recipe("tiny", backend=backend, data=TINY.data)
    bare = open_dataset(data / "made").split()[1]
    for sets in ([bare], []):
        with pytest.raises(InputError, match="nothing to validate with"):
            task_for(backend).validator(recipe, sets)


@pytest.mark.parametrize(
    "recipe",
    [
        replace(TINY, validation=replace(TINY.validation, share=0.0)),
        replace(TINY, data=(), scenes=SceneRecipe(count=2, size=96)),
    ],
    ids=["share 0", "made scenes alone"],
)
def test_training_that_holds_nothing_out_says_so(recipe: Recipe, data: Path, tmp_path: Path) -> None:
    card = train(recipe, tmp_path / "run", data)
    assert card.training["validation"] == UNSCORED
    assert read_card(tmp_path / "run" / "tiny").training["validation"] == UNSCORED
    assert "nan" not in (tmp_path / "run" / "tiny" / CARD_FILE).read_text()
    assert "score" not in read_log(tmp_path / "run" / "log.csv")[0]


def test_the_command_says_that_nothing_was_scored(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.toml").write_text(
        'name = "tiny"\nworkers = 1\n[variant]\ntrunk = "conv"\nwidths = [16, 16, 16, 32]\n'
        "depths = [1, 1, 1, 1]\nsweeps = 4\n[samples]\nsize = 32\n[optim]\nsteps = 1\nbatch = 1\n"
        '[validation]\nshare = 0.0\n[[data]]\npath = "made"\nkind = "instances"\n'
    )
    main(["train", str(tmp_path / "tiny.toml"), "--data", str(data), "--out", str(tmp_path / "run")])
    assert f"validation: {UNSCORED}" in capsys.readouterr().err
