"""A picture of the result: the image, the objects in colour, the clicks."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_iseg.files import replacing
from napari_iseg.prompts import Click, Window

if TYPE_CHECKING:
    from napari_iseg.images import PlaneSource
    from napari_iseg.labels.store import LabelStore

LONGEST_SIDE = 2048  # larger planes are shown reduced
FILL = 0.35
GOLDEN = 0.618034  # hues this far apart never come close to each other


def draw(
    source: PlaneSource, labels: LabelStore, plane: tuple[int, ...], clicks: Sequence[Click]
) -> npt.NDArray[np.uint8]:
    """The plane with its objects filled and outlined and the clicks as discs, (rows, cols, 3) uint8.

    Planes longer than ``LONGEST_SIDE`` are reduced by a power of two; only that much is read.
    """
    level = 0
    while max(source.shape) > LONGEST_SIDE << level and level + 1 < len(labels.levels):
        level += 1
    scale = 2**level
    image = source.read(Window.of_shape(source.shape), plane, scale)
    objects = np.asarray(labels.levels[level][plane], np.int64)
    rows, cols = min(image.shape[0], objects.shape[0]), min(image.shape[1], objects.shape[1])
    picture, objects = image[:rows, :cols].copy(), objects[:rows, :cols]
    for label in np.unique(objects[objects > 0]):
        colour = np.array(colorsys.hsv_to_rgb((0.1 + int(label) * GOLDEN) % 1, 0.85, 1.0), np.float32)
        inside = objects == label
        edge = inside & ~_eroded(inside)
        picture[inside] = (1 - FILL) * picture[inside] + FILL * colour
        picture[edge] = colour
    radius = max(2.0, 0.006 * max(rows, cols))
    for click in clicks:
        _disc(picture, click.row / scale, click.col / scale, radius, positive=click.positive)
    return np.asarray(np.rint(np.clip(picture, 0, 1) * 255), np.uint8)


def write_png(
    path: Path,
    picture: npt.NDArray[np.uint8],
    *,
    new: bool = False,
    fix: str = "free some space, or choose another place",
) -> None:
    """Write a PNG whole or not at all.

    Parameters
    ----------
    picture : (rows, cols, 3)
    new, fix : see `napari_iseg.files.replacing`

    Raises
    ------
    InputError
        When it is there and should be new.
    SaveError
        When it cannot be written; a file that was there before is untouched.
    """
    from PIL import Image

    with replacing(path, new=new, fix=fix) as stream:
        Image.fromarray(picture).save(stream, "PNG")


def _eroded(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Pixels whose four neighbours are in the mask too; the border of the picture is no edge."""
    wide = np.pad(mask, 1, mode="edge")
    return wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]


def _disc(picture: npt.NDArray[np.float32], row: float, col: float, radius: float, *, positive: bool) -> None:
    """A click: green on the object, red beside it, ringed in white."""
    reach = int(np.ceil(radius)) + 1
    top, left = max(int(row) - reach, 0), max(int(col) - reach, 0)
    part = picture[top : int(row) + reach + 1, left : int(col) + reach + 1]
    rows, cols = np.ogrid[top : top + part.shape[0], left : left + part.shape[1]]
    distance = np.hypot(rows - row, cols - col)
    part[distance <= radius] = 1.0
    part[distance <= radius - 1] = (0.0, 0.75, 0.2) if positive else (0.9, 0.1, 0.1)
