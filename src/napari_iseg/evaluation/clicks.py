"""The published click simulator: where a person would click next, given the truth and the present mask.

RITM's rule as used by SimpleClick and CFR-ICL: the click goes to the pixel that lies deepest inside the
larger of the two kinds of error, object missed (a positive click) or background taken (a negative one).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from napari_iseg.errors import InputError
from napari_iseg.prompts import Click

IGNORE = -1


@dataclass
class ClickSimulator:
    """Clicks for one object, in turn; remembers where it clicked.

    Parameters
    ----------
    truth : (H, W) bool or integer
        1 on the object, 0 beside it, -1 where neither counts.
    """

    truth: npt.NDArray[np.generic]
    _clicked: list[tuple[int, int]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        if self.truth.ndim != 2 or self.truth.size == 0:
            raise InputError(f"A truth mask has rows and columns, got an array of shape {self.truth.shape}.")
        self._object = self.truth == 1
        self._background = (self.truth != 1) & (self.truth != IGNORE)

    def next(self, mask: npt.NDArray[np.bool_]) -> Click:
        """The next click for the present mask, (H, W) bool.

        A tie gives a negative click; among equally deep pixels the first in raster order is taken; a perfect
        mask gives a negative click at (0, 0), as published.
        """
        if mask.shape != self.truth.shape:
            raise InputError(f"The mask has shape {mask.shape} but the truth has {self.truth.shape}.")
        missed, at_missed = deepest(self._object & ~mask, self._clicked)
        taken, at_taken = deepest(self._background & mask, self._clicked)
        positive = bool(missed > taken)
        row, col = at_missed if positive else at_taken
        self._clicked.append((row, col))
        return Click(row, col, positive)


def deepest(
    region: npt.NDArray[np.bool_], skip: list[tuple[int, int]] | None = None
) -> tuple[np.float32, tuple[int, int]]:
    """Largest Euclidean distance to the outside of ``region`` and the first pixel (raster order) that has it.

    Everything beyond the array counts as outside, pixels in ``skip`` are not chosen. Nothing to choose gives
    (0, (0, 0)). Only the region's bounding box is transformed: with one pixel of padding the box's rim is
    outside, and whatever lies further out is farther away, so the distances are those of the whole array.
    """
    rows = np.flatnonzero(region.any(1))
    if not len(rows):
        return np.float32(0), (0, 0)
    cols = np.flatnonzero(region[rows[0] : rows[-1] + 1].any(0))
    top, left = int(rows[0]), int(cols[0])
    padded = np.pad(region[top : rows[-1] + 1, left : cols[-1] + 1], 1)
    # float32 as published: distances that differ by less are ties
    distance = distance_transform_edt(padded)[1:-1, 1:-1].astype(np.float32)
    for row, col in skip or ():
        if 0 <= row - top < distance.shape[0] and 0 <= col - left < distance.shape[1]:
            distance[row - top, col - left] = 0
    index = int(distance.argmax())
    row, col = divmod(index, distance.shape[1])
    depth = np.float32(distance[row, col])
    return (depth, (row + top, col + left)) if depth > 0 else (depth, (0, 0))
