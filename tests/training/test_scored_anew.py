"""Scores of other settings are not compared: the best is chosen anew, and the card tells its own limits."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import TINY, rectangles

from napari_iseg.training.run import train

RECIPE = replace(TINY, keep_every=1, validation=replace(TINY.validation, share=0.3))
LONGER = replace(RECIPE, optim=replace(RECIPE.optim, steps=4))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return rectangles(tmp_path, 64, 8)


def forget(run: Path, *names: str) -> None:
    """Take entries out of the checkpoints, as older versions wrote them."""
    for path in (run / "best.ckpt", run / "last.ckpt"):
        saved = torch.load(path, weights_only=True)
        torch.save({key: value for key, value in saved.items() if key not in names}, path)


def bettered(run: Path) -> None:
    """The score so far becomes one that nothing can beat."""
    saved = torch.load(run / "last.ckpt", weights_only=True)
    torch.save({**saved, "best": -1.0}, run / "last.ckpt")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"validation": replace(RECIPE.validation, max_clicks=2)}, "max_clicks was 1 and is 2"),
        ({"validation": replace(RECIPE.validation, objects=2)}, "objects was 1 and is 2"),
        ({"validation": replace(RECIPE.validation, sets=("made",))}, r"sets was \[\] and is \['made'\]"),
        ({"inference": {"size": [32, 32], "flip": True}}, "inference was .* and is "),
    ],
)
def test_other_settings_begin_the_choice_of_the_best_anew(
    tmp_path: Path, data: Path, changes: dict[str, Any], said: str
) -> None:
    run = tmp_path / "run"
    train(RECIPE, run, data)
    bettered(run)
    told: list[str] = []
    other = replace(LONGER, **changes)
    card = train(other, run, data, tell=told.append)
    assert card.training["exported_step"] > 2
    limits = {key: card.training["validation"][key] for key in ("objects", "max_clicks")}
    assert limits == {"objects": other.validation.objects, "max_clicks": other.validation.max_clicks}
    found = [sentence for sentence in told if "chosen anew" in sentence]
    assert len(found) == 1
    assert re.search(said, found[0])


def test_the_same_settings_keep_the_best(tmp_path: Path, data: Path) -> None:
    run = tmp_path / "run"
    train(RECIPE, run, data)
    bettered(run)
    told: list[str] = []
    assert train(LONGER, run, data, tell=told.append).training["exported_step"] <= 2
    assert not [sentence for sentence in told if "anew" in sentence]


def test_where_no_step_is_left_the_choice_stands_with_its_limits(tmp_path: Path, data: Path) -> None:
    run = tmp_path / "run"
    train(RECIPE, run, data)
    other = replace(RECIPE, validation=replace(RECIPE.validation, max_clicks=7))
    told: list[str] = []
    assert train(other, run, data, tell=told.append).training["validation"]["max_clicks"] == 1
    assert not [sentence for sentence in told if "anew" in sentence]
    assert "max_clicks was 1 and is 7" in told[-1]
    assert told[-1].endswith("as no step is left, the best checkpoint stays as it was chosen by them.")


def test_checkpoints_that_do_not_know_their_settings_are_gone_on_with(tmp_path: Path, data: Path) -> None:
    run = tmp_path / "run"
    train(RECIPE, run, data)
    forget(run, "scored_by")
    bettered(run)
    card = train(LONGER, run, data)
    assert card.training["exported_step"] <= 2
    assert "score" in card.training["validation"]
    assert not {"objects", "max_clicks"} & set(card.training["validation"])  # those of then, nobody knows
