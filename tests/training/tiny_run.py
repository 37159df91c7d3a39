"""The smallest run there is: a tiny click network for one set, "made", of bright rectangles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from skimage.io import imsave

from napari_iseg.training.recipe import DataRecipe, OptimRecipe, Recipe, ValidationRecipe

TINY = Recipe(
    "tiny",
    variant={"trunk": "conv", "widths": [16, 16, 16, 32], "depths": [1, 1, 1, 1], "sweeps": 4},
    workers=1,
    samples={"size": 32},
    data=(DataRecipe("made", kind="instances", licence="CC0"),),
    optim=OptimRecipe(steps=2, batch=2, warmup=1),
    validation=ValidationRecipe(every=1, objects=1, max_clicks=1),
    inference={"size": [32, 32], "flip": False},
)


def rectangles(folder: Path, width: int, count: int) -> Path:
    """The folder, with a set of equal pictures x0, x1, ... (64, width) of one object at the left."""
    labels = np.zeros((64, width), np.uint16)
    labels[10:50, 10:40] = 1
    for name, pixels in (("images", labels.astype(np.uint8) * 200), ("labels", labels)):
        (folder / "made" / name).mkdir(parents=True)
        for i in range(count):
            imsave(folder / "made" / name / f"x{i}.png", pixels, check_contrast=False)
    return folder
