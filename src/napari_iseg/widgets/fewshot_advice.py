"""Advice on labels before a few-shot run takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import IsegError
from napari_iseg.fewshot.annotated import read_plane
from napari_iseg.fewshot.frame import Frame
from napari_iseg.fewshot.support_store import SupportRef
from napari_iseg.widgets.fewshot_run import MOST_THUMBNAILS

_SEVERAL = 3
_MOST = 0.9  # of a label's pixels: specks beside an object are no other one


def advice_on(refs: Sequence[SupportRef], labels: Any, frame: Frame, cancelled: Callable[[], bool]) -> str:
    """One sentence where every label is one object on one slice, as by clicks and commits; else nothing.

    A label stands for a class, and such ones are single objects that only look like their neighbours.

    Parameters
    ----------
    refs : whole annotated slices, as listed before a run
    labels : array of ``frame.shape``; read only where each label is on one slice
    """
    names = [label for ref in refs for label in ref.labels]
    if len(names) < _SEVERAL or len(set(names)) < len(names) or len(refs) >= MOST_THUMBNAILS:
        return ""
    try:
        for ref in refs:
            if cancelled() or not all_single(read_plane(labels, frame, ref.plane, ref.window)):
                return ""
    except IsegError:  # said when it matters, at Run
        return ""
    return (
        f"Each label counts as a class, and these {len(names)} are one object on one slice each: give those "
        "of one kind the same label before you press Run."
    )


def all_single(mask: npt.NDArray[np.int32]) -> bool:
    """Whether every label of a (rows, cols) mask is one object."""
    from scipy import ndimage

    present, dense = np.unique(mask, return_inverse=True)  # find_objects wants small numbers
    dense = dense.reshape(mask.shape) + 1
    for number, box in enumerate(ndimage.find_objects(dense), start=1):
        if present[number - 1] <= 0 or box is None:
            continue
        parts, count = ndimage.label(dense[box] == number, np.ones((3, 3)))
        sizes = np.bincount(parts.ravel())[1:]
        if count > 1 and sizes.max() < _MOST * sizes.sum():
            return False
    return True
