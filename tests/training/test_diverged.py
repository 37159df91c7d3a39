"""A run that has diverged is told as such at the first validation, with advice that can be followed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_run import TINY, rectangles

from napari_iseg.backends.base import ClickNet
from napari_iseg.errors import DeviceError, IsegError
from napari_iseg.training.click_task import ClickTask
from napari_iseg.training.recipe import Recipe
from napari_iseg.training.run import train


@pytest.mark.parametrize("every", [1, 6])
def test_a_rate_far_too_high_is_told_as_such(tmp_path: Path, every: int) -> None:
    recipe = replace(TINY, optim=replace(TINY.optim, rate=1e30, steps=6))
    recipe = replace(recipe, validation=replace(recipe.validation, every=every))
    said = r"run has diverged: after step \d its network answers with NaN .*lower rate"
    with pytest.raises(IsegError, match=said):
        train(recipe, tmp_path / "run", rectangles(tmp_path, 64, 8))


def test_weights_that_are_no_numbers_are_not_validated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = ClickTask.build

    def broken(self: ClickTask, recipe: Recipe) -> ClickNet:
        net = build(self, recipe)
        next(iter(net.parameters())).data.fill_(float("nan"))
        return net

    monkeypatch.setattr(ClickTask, "build", broken)
    with pytest.raises(IsegError, match=r"trained weights hold NaN or infinity in .* lower rate"):
        train(TINY, tmp_path / "run", rectangles(tmp_path, 64, 8))


def test_a_gpu_without_memory_is_no_divergence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> dict[str, float]:
        try:
            raise MemoryError
        except MemoryError as error:
            raise DeviceError("The memory was too small") from error

    monkeypatch.setattr("napari_iseg.training.validation.NocValidator.__call__", full)
    with pytest.raises(DeviceError, match="memory was too small"):
        train(TINY, tmp_path / "run", rectangles(tmp_path, 64, 8))
