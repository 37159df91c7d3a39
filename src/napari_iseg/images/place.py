"""Where the pixels of a raster lie on a map, as a viewer takes it: (row, col) to (north, east)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

ToMap = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a raster's pixels, for a napari layer.

    Attributes
    ----------
    scale, translate : (row, col) map units per pixel, and the centre of the first pixel; rows mostly go
        south, so that the first scale is negative
    affine : 3 x 3, after the scale, of a raster that is turned against north; its ``translate`` is (0, 0)
    unit : "metre", "foot", or None where the file gives none or degrees
    """

    scale: tuple[float, float]
    translate: tuple[float, float]
    affine: tuple[tuple[float, float, float], ...] | None
    unit: str | None


def is_place(to_map: ToMap) -> bool:
    """Whether a transform, as ``place_of`` takes it, gives every pixel a place of its own, in numbers."""
    a, b, c, d, e, f = map(float, to_map)
    area = a * e - b * d
    return area != 0 and all(map(math.isfinite, (area, c, f)))


def place_of(to_map: ToMap, unit: str | None) -> Place | None:
    """The place for a transform in GDAL's sense; None where it is none.

    Parameters
    ----------
    to_map : a, b, c, d, e, f; east = a col + b row + c and north = d col + e row + f, at corners of pixels
    """
    if not is_place(to_map):
        return None
    a, b, c, d, e, f = map(float, to_map)
    north, east = f + (d + e) / 2, c + (a + b) / 2  # of the first pixel's centre
    if b == d == 0:
        return Place((e, a), (north, east), None, unit)
    down, across = math.copysign(math.hypot(e, b), e), math.copysign(math.hypot(a, d), a)
    turn = ((e / down, d / across, north), (b / down, a / across, east), (0.0, 0.0, 1.0))
    return Place((down, across), (0.0, 0.0), turn, unit)


def tagged(
    step: Sequence[float] | None, tie: Sequence[float] | None, matrix: Sequence[float] | None, *, centre: bool
) -> ToMap | None:
    """The transform that the tags of a GeoTIFF give; None where they give none.

    Parameters
    ----------
    step, tie, matrix : ModelPixelScale, ModelTiepoint and ModelTransformation
    centre : whether they place the centres of pixels, and not their corners
    """
    if step is not None and tie is not None and len(tie) == 6 and step[0] > 0 and step[1] > 0:
        a, b, d, e = float(step[0]), 0.0, 0.0, -float(step[1])
        c, f = float(tie[3]) - float(tie[0]) * a, float(tie[4]) - float(tie[1]) * e
    elif matrix is not None and len(matrix) == 16:
        a, b, _, c, d, e, _, f = map(float, matrix[:8])
    else:
        return None
    return (a, b, c - (a + b) / 2, d, e, f - (d + e) / 2) if centre else (a, b, c, d, e, f)
