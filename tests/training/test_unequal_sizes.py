"""A held-out picture of another size than its labels is refused before the first step, in every split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from skimage.io import imsave
from tiny_run import TINY, rectangles

from napari_iseg.errors import InputError
from napari_iseg.training.load import open_sets
from napari_iseg.training.log import Progress
from napari_iseg.training.run import train


def test_no_step_is_taken_for_a_validation_that_cannot_be(tmp_path: Path) -> None:
    rectangles(tmp_path, 64, 12)
    recipe = replace(TINY, validation=replace(TINY.validation, share=0.3, objects=9))
    last = open_sets(recipe, tmp_path)[0][2][-1]
    imsave(
        tmp_path / "made" / "images" / f"{last.name}.png", np.zeros((64, 60), np.uint8), check_contrast=False
    )
    steps: list[Progress] = []
    with pytest.raises(InputError, match=rf"{last.name}.png has the shape \(64, 60\) but its labels"):
        train(recipe, tmp_path / "run", tmp_path, on_step=steps.append)
    assert not steps
    assert not (tmp_path / "run" / "recipe.txt").exists()
