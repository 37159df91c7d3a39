"""A run is gone on with by the split that it was begun with: else it is scored on what it trained on."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from skimage.io import imread, imsave
from test_scored_anew import LONGER, RECIPE, bettered, forget
from tiny_run import rectangles

from napari_iseg.errors import InputError
from napari_iseg.training.run import train


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A folder with a run of two steps, and its data, to which another series has come since."""
    train(RECIPE, tmp_path / "run", rectangles(tmp_path, 64, 8))
    for folder in ("images", "labels"):
        for i in range(3):
            place = tmp_path / "made" / folder
            imsave(place / f"y{i}.png", imread(place / "x0.png"), check_contrast=False)
    return tmp_path


@pytest.mark.parametrize("recipe", [RECIPE, LONGER], ids=["as long", "longer"])
def test_another_split_is_refused(begun: Path, recipe: Any) -> None:
    before = (begun / "run" / "tiny" / "card.toml").read_bytes()
    with pytest.raises(
        InputError, match=r"with \S+ of the set 'made' .*held out, .* another --out"
    ) as refused:
        train(recipe, begun / "run", begun)
    assert "\n" not in str(refused.value)
    assert (begun / "run" / "tiny" / "card.toml").read_bytes() == before


def test_an_older_run_is_compared_by_its_card(begun: Path) -> None:
    forget(begun / "run", "held_out")
    with pytest.raises(InputError, match="or another --out"):
        train(LONGER, begun / "run", begun)


def test_an_older_run_without_a_card_chooses_the_best_anew(begun: Path) -> None:
    run = begun / "run"
    forget(run, "held_out")
    bettered(run)
    shutil.rmtree(run / "tiny")
    told: list[str] = []
    assert train(LONGER, run, begun, tell=told.append).training["exported_step"] > 2
    assert "not known on which pictures the scores so far were taken, so the best" in told[-1]
    train(replace(LONGER, optim=replace(LONGER.optim, steps=5)), run, begun, tell=told.append)
    assert len([sentence for sentence in told if "anew" in sentence]) == 1  # from then on it is known
