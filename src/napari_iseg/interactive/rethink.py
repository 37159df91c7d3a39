"""Another object than the first click seemed to mean, where the second click says that it was not that one.

At the first click nothing says how large the object is, and one of several answers is chosen
(`interactive.scale_search`). A wrong choice, all of the background for one dark nucleus, is not mended by
later windows: they follow the mask. So when a background click lies in the middle of the mask, the
answers that were not chosen are heard once more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi
from skimage.segmentation import flood

from napari_iseg.prompts import Click, Window

Float32 = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]

_MIDDLE = 0.75  # of the greatest depth of the mask: so deep lies a click that means all of it
_SMALLER = 0.1  # of the mask that was wrong: larger objects are found from it by the usual windows
_BELIEVED = 0.15  # less is a speck under the click


def stability(answers: Sequence[Float32] | Float32) -> Float32:
    """How little the masks depend on the threshold, (K,): the IoU at a higher and at a lower one.

    As SAM measures it (arXiv 2304.02643, B.4). ``answers`` are K probabilities (h, w).
    """
    high = [np.count_nonzero(answer > 0.65) for answer in answers]
    low = [np.count_nonzero(answer > 0.35) for answer in answers]
    return np.asarray(np.divide(high, np.maximum(low, 1)), np.float32)


def refutes(click: Click, mask: Bool) -> bool:
    """Whether a background click lies in the middle of its connected part of the mask: all of that is wrong.

    ``click`` is in pixels of ``mask``.
    """
    row, col = round(click.row), round(click.col)
    if click.positive or not (0 <= row < mask.shape[0] and 0 <= col < mask.shape[1] and mask[row, col]):
        return False
    part = flood(mask.view(np.uint8), (row, col), connectivity=1)
    rows, cols = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
    depth = ndi.distance_transform_edt(np.pad(part[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1], 1))
    return bool(depth[row - rows[0] + 1, col - cols[0] + 1] >= _MIDDLE * depth.max())


def other_object(
    refuted: int,
    click: Click,
    windows: Sequence[Window],
    answers: Sequence[Float32],
    beliefs: Float32,
    threshold: float,
) -> int | None:
    """Which answer to the first click to go on with, now that ``click`` has refuted the one chosen; or None.

    It is the one believed most of those that do not hold the click, if it is believed at all and is a tenth
    of the mask at most.

    Parameters
    ----------
    refuted : pixels of the mask that was wrong
    windows, answers : K windows on the grid, and the probability in each, of its shape
    beliefs : (K,) how good each seems
    """
    for k in np.argsort(-beliefs, kind="stable"):
        window, mask = windows[k], answers[k] > threshold
        row, col = round(click.row) - window.top, round(click.col) - window.left
        inside = 0 <= row < window.height and 0 <= col < window.width
        if not mask.any() or (inside and mask[row, col]):
            continue
        small = np.count_nonzero(mask) <= _SMALLER * refuted
        return int(k) if small and beliefs[k] >= _BELIEVED else None
    return None
