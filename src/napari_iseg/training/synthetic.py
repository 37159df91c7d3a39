"""Endless made-up pictures with true objects, for training on more variety than any data folder holds.

A scene is a textured background, sometimes with large unlabelled areas, and objects of a few kinds on it:
each kind shares a surface, each object varies it. Optics come last: shading, outlines, shadows, blur, noise.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_iseg.errors import InputError
from napari_iseg.training import synthetic_shapes as shapes
from napari_iseg.training.synthetic_textures import Field, Texture, paint, random_texture

Labels = npt.NDArray[np.int32]
MIN_OBJECT = 40  # pixels; smaller leftovers of covered objects become background


def random_scene(
    rng: np.random.Generator, size: int | tuple[int, int], outlines: shapes.Outlines = shapes.OUTLINES
) -> tuple[npt.NDArray[np.uint8], Labels]:
    """A made-up picture and its objects.

    Parameters
    ----------
    rng
        Decides everything: equal generators give equal scenes.
    size
        (rows, cols), or the side of a square.
    outlines
        Makers of outlines with their weights; others than the usual ones never fill the plane wall to wall.

    Returns
    -------
    image : (rows, cols, 3) uint8
        RGB.
    labels : (rows, cols) int32
        0 is background, objects are 1..n without gaps.

    Raises
    ------
    InputError
        For a size of 0, or one that is no whole number.
    """
    shape = _shape(size)
    channels = 1 if rng.random() < 0.5 else 3
    contrast = float(np.exp(rng.uniform(np.log(0.05), np.log(0.6))))
    roughness = float(contrast * np.exp(rng.uniform(np.log(0.05), np.log(0.8))))
    base = rng.uniform(0.15, 0.85, channels).astype(np.float32)
    if rng.random() < 0.6:
        base[:] = base.mean()
    image = paint(rng, random_texture(rng, base, roughness), shape)
    if rng.random() < 0.4:
        _distract(rng, image, base, contrast * 0.7, roughness)
    labels = np.zeros(shape, np.int32)
    kinds = [random_kind(rng, base, contrast, roughness) for _ in range(int(rng.integers(1, 5)))]
    tiled = rng.random() < 0.18 and outlines is shapes.OUTLINES
    if tiled:
        _tessellate(rng, image, labels, kinds, contrast)
    else:
        _scatter(rng, image, labels, kinds, contrast, outlines)
    labels = _tidy(labels)
    return expose(rng, image, labels, contrast, walls=0.7 if tiled else 0.35), labels


def _shape(size: Any) -> tuple[int, int]:
    """(rows, cols) of a size; InputError where it is none."""
    try:
        rows, cols = map(operator.index, size if np.iterable(size) else (size, size))
    except (TypeError, ValueError):
        rows = cols = 0
    if min(rows, cols) < 1:
        raise InputError(f"A scene's size is a whole number above 0, or (rows, cols) of such, got {size!r}.")
    return rows, cols


def random_kind(rng: np.random.Generator, base: Field, contrast: float, roughness: float) -> Texture:
    """The surface that the objects of one kind share: it stands off the background by ``contrast``."""
    direction = rng.normal(0, 1, base.shape)
    if rng.random() < 0.6:
        direction[:] = rng.choice([-1.0, 1.0])
    direction /= np.abs(direction).max()
    return random_texture(
        rng, (base + contrast * direction).astype(np.float32), roughness * rng.uniform(0.5, 1.5)
    )


def _distract(rng: np.random.Generator, image: Field, base: Field, contrast: float, roughness: float) -> None:
    """Large areas of another surface that are nobody's object."""
    rows, cols = image.shape[:2]
    field = shapes.smooth(rng, (rows, cols), max(rows, cols) / rng.uniform(1.5, 5))
    area = field > rng.uniform(-0.5, 1)
    other = paint(rng, random_kind(rng, base, contrast, roughness), (rows, cols))
    image[area] = other[area]


def _scatter(
    rng: np.random.Generator,
    image: Field,
    labels: Labels,
    kinds: list[Texture],
    contrast: float,
    made_by: shapes.Outlines,
) -> None:
    """Objects one after the other, later ones on top; some come as groups that touch."""
    shape = labels.shape
    makers = [make for make, _ in made_by]
    weights = np.array([weight for _, weight in made_by])
    outlines = rng.choice(len(makers), len(kinds), p=weights / weights.sum())
    typical = min(shape) * np.exp(rng.uniform(np.log(0.06), np.log(0.7)))
    crowd = int(np.clip(rng.uniform(0.15, 0.7) * shape[0] * shape[1] / typical**2, 2, 45))
    spread = rng.uniform(0.05, 0.4)
    overlap = rng.random() < 0.5
    together = rng.random() < 0.35
    centre = rng.uniform(0, 1, 2) * shape
    for number in range(1, crowd + 1):
        pick = int(rng.integers(len(kinds)))
        side = float(np.clip(typical * np.exp(rng.normal(0, spread)), 8, 1.2 * min(shape)))
        mask = makers[outlines[pick]](rng, side)
        near = together and rng.random() < 0.75
        centre = centre + rng.normal(0, side * 0.7, 2) if near else rng.uniform(0, 1, 2) * shape
        centre = np.clip(centre, 0, np.array(shape) - 1)
        place(
            rng, image, labels, mask, centre, kinds[pick].varied(rng, contrast * 0.15), number, on_top=overlap
        )


def place(
    rng: np.random.Generator,
    image: Field,
    labels: Labels,
    mask: shapes.Mask,
    centre: npt.NDArray[np.float64],
    texture: Texture,
    number: int,
    *,
    on_top: bool,
) -> None:
    """Paint one object where its crop meets the picture; beneath the others unless ``on_top``."""
    start = np.rint(centre - np.array(mask.shape) / 2).astype(int)
    low = np.maximum(start, 0)
    high = np.minimum(start + mask.shape, labels.shape)
    if (high <= low).any():
        return
    there = (slice(low[0], high[0]), slice(low[1], high[1]))
    inside = mask[low[0] - start[0] : high[0] - start[0], low[1] - start[1] : high[1] - start[1]]
    if not on_top:
        inside = inside & (labels[there] == 0)
    surface = paint(rng, texture, (int(high[0] - low[0]), int(high[1] - low[1])))
    image[there][inside] = surface[inside]
    labels[there][inside] = number


def _tessellate(
    rng: np.random.Generator, image: Field, labels: Labels, kinds: list[Texture], contrast: float
) -> None:
    """Cells that fill the plane or a large part of it, wall to wall: tissue, fields, grains."""
    shape = labels.shape
    count = int(rng.integers(6, 50))
    seeds = np.ones(shape, bool)
    rows, cols = (rng.integers(0, side, count) for side in shape)
    seeds[rows, cols] = False
    numbers = np.zeros(shape, np.int32)
    numbers[rows, cols] = np.arange(1, count + 1)
    near = ndimage.distance_transform_edt(seeds, return_distances=False, return_indices=True)
    cells = numbers[near[0], near[1]]
    if rng.random() < 0.6:  # wavy walls
        amount = rng.uniform(2, 0.06 * min(shape))
        bend = [(shapes.smooth(rng, shape, min(shape) / 12) * amount).astype(int) for _ in (0, 1)]
        grid = np.ogrid[: shape[0], : shape[1]]
        at = [np.clip(axis + move, 0, side - 1) for axis, move, side in zip(grid, bend, shape, strict=True)]
        cells = cells[at[0], at[1]]
    if rng.random() < 0.5:
        cells[shapes.smooth(rng, shape, min(shape) / 4) < rng.uniform(-1, 0.3)] = 0
    for number, where in enumerate(ndimage.find_objects(cells), start=1):
        if where is None or rng.random() < 0.1:
            continue
        inside = cells[where] == number
        texture = kinds[int(rng.integers(len(kinds)))].varied(rng, contrast * 0.4)
        image[where][inside] = paint(rng, texture, inside.shape)[inside]
        labels[where][inside] = number


def _tidy(labels: Labels) -> Labels:
    """Labels renumbered 1..n, leftovers of fewer than ``MIN_OBJECT`` pixels dropped."""
    sizes = np.bincount(labels.ravel())
    keep = sizes >= MIN_OBJECT
    keep[0] = False
    return np.asarray(np.where(keep, np.cumsum(keep), 0)[labels], np.int32)


def expose(
    rng: np.random.Generator, image: Field, labels: Labels, contrast: float, *, walls: float
) -> npt.NDArray[np.uint8]:
    """What optics and sensor make of it: outlines (with probability ``walls``) to noise, (H, W, 3) uint8."""
    shape = labels.shape
    light = np.ones(shape, np.float32)
    if rng.random() < walls:
        image += (_outline(labels, int(rng.integers(1, 4))) * np.float32(rng.normal(0, contrast)))[..., None]
    if rng.random() < 0.25:
        depth = ndimage.distance_transform_edt((labels > 0) & ~_outline(labels, 1).astype(bool)).astype(
            np.float32
        )
        image += (rng.normal(0, contrast) * (1 - np.exp(-depth / rng.uniform(3, 15))) * (labels > 0))[
            ..., None
        ]
    if rng.random() < 0.12:
        offset = tuple(int(step) for step in rng.integers(-8, 9, 2))
        shadow = np.roll(labels > 0, offset, (0, 1)) & (labels == 0)
        light -= np.float32(rng.uniform(0.2, 0.6)) * shadow
    if rng.random() < 0.5:
        light *= 1 + np.float32(rng.uniform(0, 0.25)) * shapes.smooth(
            rng, shape, max(shape) / rng.uniform(1, 3)
        )
    image *= light[..., None]
    if rng.random() < 0.7:
        sigma = float(np.exp(rng.uniform(np.log(0.4), np.log(2.2))))
        image = np.stack(
            [ndimage.gaussian_filter(band, sigma, truncate=2.5) for band in np.moveaxis(image, 2, 0)], 2
        )
    noise = float(np.exp(rng.uniform(np.log(0.003), np.log(0.12)))) * rng.choice([0.3, 1.0])
    shot = np.sqrt(np.clip(image, 0.02, 1)) if rng.random() < 0.5 else np.float32(1)
    image += np.float32(noise) * shot * rng.standard_normal(image.shape, np.float32)
    if rng.random() < 0.3:  # stretched, as most people look at their images
        low, high = np.quantile(image[::4, ::4], (0.005, 0.995))
        image = (image - low) / max(float(high - low), 0.05)
    return np.repeat((np.clip(image, 0, 1) * 255).astype(np.uint8), 3 // image.shape[2], axis=2)


def _outline(labels: Labels, width: int) -> Field:
    """1 on the borders between labels, about ``width`` pixels on either side, (rows, cols) float32."""
    edge = np.zeros(labels.shape, bool)
    down = labels[1:] != labels[:-1]
    right = labels[:, 1:] != labels[:, :-1]
    edge[1:] |= down
    edge[:, 1:] |= right
    if width > 1:
        edge = ndimage.maximum_filter(edge, size=width)
    return edge.astype(np.float32)
