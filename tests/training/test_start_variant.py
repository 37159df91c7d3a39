"""A start of the recipe's own method, but of another variant, is refused in one sentence that names both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_run import TINY, rectangles

from napari_iseg.errors import InputError
from napari_iseg.training.run import train

WIDER = {"trunk": "conv", "widths": [16, 16, 32, 32], "depths": [1, 1, 1, 1], "sweeps": 4}


def test_a_start_of_another_variant_names_both(tmp_path: Path) -> None:
    recipe = replace(TINY, start="cfr-icl-starter")
    said = r"start 'cfr-icl-starter' is of the variant 'starter', .* \{'trunk': 'conv', .*name a start of"
    with pytest.raises(InputError, match=said):
        train(recipe, tmp_path / "run", tmp_path)


def test_a_start_whose_weights_have_other_shapes_is_one_of_another_variant(tmp_path: Path) -> None:
    rectangles(tmp_path, 64, 8)
    once = replace(TINY, optim=replace(TINY.optim, steps=1))
    start = train(once, tmp_path / "run", tmp_path).folder
    train(replace(once, start=str(start)), tmp_path / "on", tmp_path)
    with pytest.raises(InputError, match="is of the variant"):
        train(replace(once, start=str(start), variant=WIDER), tmp_path / "wider", tmp_path)
