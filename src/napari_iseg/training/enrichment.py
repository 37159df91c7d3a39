"""GT enrichment (named so by DIS-SAM's paper): a mask of several parts becomes several training samples."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from skimage.measure import label

MIN_SHARE = 0.004  # of the picture; smaller parts make no sample


def enriched(mask: npt.NDArray[np.bool_], min_share: float = MIN_SHARE) -> list[npt.NDArray[np.bool_]]:
    """The targets that one true mask gives.

    As released: each 8-connected part of at least ``min_share`` of the picture, in the order of its first
    pixel; then, if there are several, the whole mask with its small parts. A single large part stands alone;
    without one there is no sample.

    Parameters
    ----------
    mask : (H, W) bool

    Returns
    -------
    list of (H, W) bool
    """
    parts = np.asarray(label(mask, background=0, connectivity=2))
    areas = np.bincount(parts.ravel())
    kept = [parts == index for index in range(1, len(areas)) if areas[index] >= min_share * mask.size]
    return [*kept, mask] if len(kept) > 1 else kept
