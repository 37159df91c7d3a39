"""Made-up pictures that show the same kinds of objects, for few-shot episodes with a known answer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from napari_iseg.training import synthetic_shapes as shapes
from napari_iseg.training.synthetic import MIN_OBJECT, Labels, expose, place, random_kind
from napari_iseg.training.synthetic_textures import Texture, paint, random_texture


def scene_series(
    rng: np.random.Generator, size: int, count: int
) -> list[tuple[npt.NDArray[np.uint8], Labels]]:
    """``count`` pictures of one made-up world.

    They share background, optics and two or three kinds of objects, each kind with a surface, an outline and
    a size of its own.

    Returns
    -------
    (image (size, size, 3) uint8, classes (size, size) int32) each; class i is the i-th kind, 0 background
    """
    channels = 1 if rng.random() < 0.5 else 3
    contrast = float(np.exp(rng.uniform(np.log(0.1), np.log(0.6))))
    roughness = float(contrast * np.exp(rng.uniform(np.log(0.05), np.log(0.7))))
    base = rng.uniform(0.15, 0.85, channels).astype(np.float32)
    ground = random_texture(rng, base, roughness)
    kinds = [random_kind(rng, base, contrast, roughness) for _ in range(int(rng.integers(2, 4)))]
    outlines = [shapes.OUTLINES[int(rng.integers(len(shapes.OUTLINES)))][0] for _ in kinds]
    sides = [size * float(np.exp(rng.uniform(np.log(0.07), np.log(0.35)))) for _ in kinds]
    optics = int(rng.integers(2**31))
    series = []
    for _ in range(count):
        image = paint(rng, ground, (size, size))
        classes = np.zeros((size, size), np.int32)
        parts = np.zeros((size, size), np.int32)
        for kind, texture in enumerate(kinds):
            _strew(rng, image, classes, parts, kind + 1, texture, outlines[kind], sides[kind], contrast)
        areas = np.bincount(classes.ravel(), minlength=len(kinds) + 1)
        classes[(areas < MIN_OBJECT)[classes]] = 0
        series.append((expose(np.random.default_rng(optics), image, parts, contrast, walls=0.3), classes))
    return series


def _strew(
    rng: np.random.Generator,
    image: npt.NDArray[np.float32],
    classes: Labels,
    parts: Labels,
    kind: int,
    texture: Texture,
    outline: Callable[[np.random.Generator, float], shapes.Mask],
    side: float,
    contrast: float,
) -> None:
    """Objects of one kind at random places; now and then none."""
    size = len(classes)
    most = int(np.clip(0.35 * (size / side) ** 2, 1, 14))
    for _ in range(int(rng.integers(0, most + 1)) if rng.random() < 0.85 else 0):
        number = int(parts.max()) + 1
        mask = outline(rng, float(np.clip(side * np.exp(rng.normal(0, 0.2)), 8, size)))
        centre = rng.uniform(0, size - 1, 2)
        place(rng, image, parts, mask, centre, texture.varied(rng, contrast * 0.15), number, on_top=True)
        classes[parts == number] = kind
