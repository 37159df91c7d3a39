"""Where to look in an image of any size to learn its intensities, without reading it all."""

from __future__ import annotations

import math
from itertools import product

from napari_iseg.prompts import Window

MOST_VALUES = 4 << 20  # bound on the values looked at
_TILE = 256
_MIN_PLANES, _MAX_PLANES = 8, 64


def sample_places(shape: tuple[int, int], planes: int, bands: int) -> list[tuple[int, Window]]:
    """Windows spread over all planes of an image, at most ``MOST_VALUES`` values together.

    A small image is taken whole. Of a large one tiles are taken rather than single pixels, because a
    chunked array decodes a whole chunk for each pixel.

    Parameters
    ----------
    shape : (rows, cols)
    planes, bands : int
        How many there are.

    Returns
    -------
    list of (flat plane index, window)
    """
    rows, cols = shape
    whole_planes = MOST_VALUES // (rows * cols * bands)
    chosen = _spread(planes, min(max(whole_planes, _MIN_PLANES), _MAX_PLANES))
    windows = [Window.of_shape(shape)]
    if len(chosen) > whole_planes:
        windows = _tiles(rows, cols, MOST_VALUES // (_TILE**2 * bands * len(chosen)))
    return list(product(chosen, windows))


def _spread(count: int, most: int) -> list[int]:
    """At most ``most`` of ``count`` indices, evenly spread."""
    taken = min(most, count)
    return [int((i + 0.5) * count / taken) for i in range(taken)]


def _tiles(rows: int, cols: int, most: int) -> list[Window]:
    """At most ``most`` tiles, evenly spread and aligned with the usual chunks."""
    side = math.isqrt(most)
    tops = [i * _TILE for i in _spread(max(1, rows // _TILE), side)]
    lefts = [i * _TILE for i in _spread(max(1, cols // _TILE), side)]
    return [
        Window(top, left, min(rows, top + _TILE), min(cols, left + _TILE))
        for top, left in product(tops, lefts)
    ]
