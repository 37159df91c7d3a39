"""The number of pictures that is told is that of images, however many objects or copies they give."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from skimage.io import imsave
from tiny_run import TINY, rectangles

from napari_iseg.training.load import load_bank, open_sets


@pytest.mark.parametrize("kind", ["semantic", "instances"])
def test_images_are_counted_once_and_only_with_an_object(tmp_path: Path, kind: str) -> None:
    rectangles(tmp_path, 64, 8)
    recipe = replace(TINY, data=(replace(TINY.data[0], kind=kind),))
    sets = open_sets(recipe, tmp_path)
    train = sets[0][1]
    bare = tmp_path / "made" / "labels" / f"{train[0].name}.png"
    imsave(bare, np.zeros((64, 64), np.uint16), check_contrast=False)
    told: list[tuple[str, int]] = []
    load_bank(recipe, open_sets(recipe, tmp_path), lambda *said: told.append(said))
    assert told == [("made", len(train) - 1)]
