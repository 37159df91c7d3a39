"""Human correction efforts (Qin et al., DIS, ECCV 2022): how many clicks would mend a mask by hand.

Wrong pixels near the outline are forgiven by a relaxation of ``gamma`` pixels. What remains is counted: the
corners of the polygons that one would draw along it (Douglas-Peucker, ``epsilon``), and one click for each
region that has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from skimage.morphology import skeletonize

from napari_iseg.evaluation.opencv import opencv

Mask = npt.NDArray[np.bool_]
Points = list[tuple[int, int]]  # (col, row) along a contour, as OpenCV orders them
GAMMA: Final = 5
EPSILON: Final = 2.0
_CROSS: Final = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


@dataclass(frozen=True, slots=True)
class Efforts:
    """Clicks to mend false positives and false negatives: polygon points, and whole regions."""

    fp_points: int
    fp_regions: int
    fn_points: int
    fn_regions: int

    @property
    def total(self) -> int:
        """All of them: HCE of the picture."""
        return self.fp_points + self.fp_regions + self.fn_points + self.fn_regions


def human_correction_efforts(
    prediction: Mask,
    truth: Mask,
    *,
    skeleton: Mask | None = None,
    gamma: int = GAMMA,
    epsilon: float = EPSILON,
) -> Efforts:
    """HCE of one picture.

    Parameters
    ----------
    prediction : (H, W) bool
        The mask.
    truth : (H, W) bool
        What it should be.
    skeleton : (H, W) bool or None
        Of the truth; None computes it.
    gamma
        Pixels of relaxation.
    epsilon
        Largest distance of a polygon from the contour, in pixels.
    """
    ridge = skeletonize(truth) if skeleton is None else skeleton
    hit, false, missed = prediction & truth, prediction & ~truth, truth & ~prediction
    core = _times(prediction | truth, gamma, erode=True)
    false = _relaxed(false, core, hit | missed, gamma)
    missed = _relaxed(missed, core, hit | (prediction & ~truth), gamma)
    missed = missed | (ridge & ~hit)
    fp = _clicks(false, hit | missed, epsilon)
    fn = _clicks(missed, ~(hit | false | missed), epsilon)
    return Efforts(*fp, *fn)


def _relaxed(wrong: Mask, core: Mask, other: Mask, gamma: int) -> Mask:
    """The wrong pixels that lie deep, and those that hang together with them."""
    kept = wrong & core
    for _ in range(gamma):
        kept = _times(kept, 1, erode=False) & ~other
    return wrong & kept


def _clicks(region: Mask, condition: Mask, epsilon: float) -> tuple[int, int]:
    """(polygon points, regions without any) for the outline of ``region`` where it meets ``condition``."""
    cv2 = opencv()
    contours, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_TREE, cv2.CHAIN_APPROX_NONE)
    open_pixels = _times(condition, 1, erode=False)
    used = np.zeros_like(region)
    points = 0
    for contour in contours:
        for run in _runs([(int(col), int(row)) for col, row in contour[:, 0]], open_pixels, used):
            line = np.array(run, np.int32)[:, None]
            points += len(cv2.approxPolyDP(line, epsilon, False))
    count, numbers = cv2.connectedComponents(region.astype(np.uint8), connectivity=8)
    touched = np.unique(numbers[used & region])
    return points, count - 1 - int(np.count_nonzero(touched))


def _runs(contour: Sequence[tuple[int, int]], open_pixels: Mask, used: Mask) -> list[Points]:
    """The stretches of a contour that count; ``used`` marks every pixel that has counted already."""
    runs: list[Points] = []
    going = False
    for col, row in contour:
        counts = bool(open_pixels[row, col]) and not bool(used[row, col])
        if counts and not going:
            runs.append([])
        if counts:
            runs[-1].append((col, row))
            used[row, col] = True
        going = counts
    if len(runs) > 1:
        first, last = runs[0][0], runs[-1][-1]
        apart = abs(first[0] - last[0]), abs(first[1] - last[1])
        if max(apart) <= 1 and first != last:
            # Joined as published: the first run is turned round and put behind the last one.
            runs[-1].extend(reversed(runs[0]))
            del runs[0]
    return runs


def _times(mask: Mask, times: int, *, erode: bool) -> Mask:
    """A mask eroded or dilated by a cross; the picture's border neither eats nor grows anything."""
    cv2 = opencv()
    change = cv2.erode if erode else cv2.dilate
    return np.asarray(change(mask.astype(np.uint8), _CROSS, iterations=times), np.bool_)
