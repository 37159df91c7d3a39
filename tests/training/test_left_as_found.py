"""Training leaves torch as its caller has set it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_run import TINY, rectangles

from napari_iseg import backends
from napari_iseg.evaluation.datasets import Dataset, open_dataset
from napari_iseg.training.recipe import OptimRecipe
from napari_iseg.training.run import train
from napari_iseg.training.validation import NocValidator

RECIPE = replace(
    TINY,
    optim=OptimRecipe(steps=1, batch=1, warmup=1, start_share=0.5),
    validation=replace(TINY.validation, share=0.3, seed=4),
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return rectangles(tmp_path, 64, 8)


def test_a_whole_run_leaves_the_callers_random_numbers(data: Path, tmp_path: Path) -> None:
    draws = torch.get_rng_state()
    train(RECIPE, tmp_path / "run", data)
    assert torch.equal(torch.get_rng_state(), draws)


@pytest.mark.parametrize("learning", [True, False])
def test_validation_leaves_gradients_on_or_off(learning: bool, data: Path) -> None:
    net = backends.build(RECIPE.backend, RECIPE.variant)
    whole = open_dataset(data / "made")
    with torch.set_grad_enabled(learning):
        NocValidator(RECIPE, [Dataset(whole.name, whole.items[:1])])(net, 0)
        assert torch.is_grad_enabled() is learning
