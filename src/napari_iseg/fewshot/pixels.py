"""Whether an image still has the pixels that finished predictions were made from.

Of every unit a sample of its pixels, and of where they have values, is kept with the result. All samples of
an image hold about ``_LOOKED_AT`` pixels, so a small image is compared whole. A volume that nobody could read
through starts at once all the same: a change that lies beside all samples is not seen there, nor one that
slow reading does not come to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from math import isqrt
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_iseg.fewshot.base import Image
from napari_iseg.fewshot.feature_cache import content_key
from napari_iseg.images.damage import unless_damaged
from napari_iseg.prompts import Window

if TYPE_CHECKING:
    from napari_iseg.fewshot.jobs import Job, Unit
    from napari_iseg.fewshot.record import Record
    from napari_iseg.images import PlaneSource

_LOOKED_AT = 4 << 20  # pixels: as many as the intensities of an image are learned from
_LEAST_SIDE = 64  # a chunk is decoded for less just the same
_FEWEST, _SECONDS = 16, 2.0  # where reading is slow, so many samples are compared, or for so long
_STEPS = 0.7548776662, 0.5698402910  # of a sequence of points that leaves no part of a plane out


def sample_of(window: Window, place: Sequence[int], counts: Sequence[int]) -> Window:
    """The part of a unit's window that is compared; all of it where the image is small.

    Parameters
    ----------
    place, counts : the unit's plane and tile, and how many there are, axis by axis
    """
    number = 0
    for index, count in zip(place, counts, strict=True):
        number = number * count + index
    side = max(_LEAST_SIDE, isqrt(_LOOKED_AT // int(np.prod(counts, dtype=object))))
    corner, sides = [], []
    for start, size, step in zip((window.top, window.left), window.shape, _STEPS, strict=True):
        taken = min(side, size)
        middle = int(number * step % 1 * size)
        corner.append(start + min(max(0, middle - taken // 2), size - taken))
        sides.append(taken)
    top, left = corner
    return Window(top, left, top + sides[0], left + sides[1])


def key_of(image: Image, valid: npt.NDArray[np.bool_] | None) -> str:
    """A key of pixels and of which of them are values (None: all): those that are none are 0 in an image."""
    key = content_key(image)
    return key if valid is None or valid.all() else f"{key}+{content_key(valid.astype(np.float32))}"


def same_pixels(jobs: Iterable[Job], record: Record, source: PlaneSource) -> bool:
    """Whether what is finished was made from the image's present pixels, as far as its samples tell.

    Results of methods that look at no image, and of runs before samples were kept, are taken as they are, and
    so is what was made from pixels that are damaged since.
    """
    found: dict[tuple[Unit, str], Job] = {}  # the steps of a chain have the samples of their unit
    for job in jobs:
        result = record.result(job)
        if result is not None and result.pixels:
            found[job.unit, result.pixels] = job
    if not found:
        return True
    done = list(found.items())
    rows, cols = done[0][1].sample.shape
    most = max(1, _LOOKED_AT // (rows * cols))
    chosen = np.linspace(0, len(done) - 1, min(most, len(done))).astype(int)
    end = perf_counter() + _SECONDS
    for count, number in enumerate(np.random.default_rng(0).permutation(chosen)):
        if count >= _FEWEST and perf_counter() > end:
            break
        (_, pixels), job = done[number]
        sample = unless_damaged(partial(source.look, job.sample, job.unit.plane))
        if sample is not None and key_of(*sample) != pixels:
            return False
    return True
