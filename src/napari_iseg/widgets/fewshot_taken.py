"""The labels that a few-shot run took, by which others are told from them, also after a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import IsegError
from napari_iseg.fewshot.annotated import occupied, read_plane, support_windows
from napari_iseg.fewshot.decisions import Decisions
from napari_iseg.fewshot.frame import Frame, Grid, Plane
from napari_iseg.fewshot.support_store import kept_supports
from napari_iseg.prompts import Window

Place = tuple[Plane, Window]
Taken = dict[Place, bytes]  # a digest of the labels wherever there are any

_MOST, _PIXELS = 32, 2**24  # supports, and of all of them, as the window may wait for it


def labelled(labels: Any | None, frame: Frame, grid: Grid, cancelled: Callable[[], bool]) -> Taken:
    """Where an array of ``frame.shape`` holds labels, in the windows that a run takes; slow.

    Raises
    ------
    InputError, DamageError
        As of ``read_plane``.
    """
    found: Taken = {}
    for plane, part in occupied(labels, frame, None, cancelled) if labels is not None else ():
        if cancelled():
            break
        for window in support_windows(labels, frame, grid, plane, part):
            if (plane, window) not in found:
                found[plane, window] = _digest(labels, frame, plane, window)
    return found


def was_made_from(run: Path, labels: Any, frame: Frame) -> bool | None:
    """Whether a result was made from these labels: whether they hold at one place just what was taken there.

    So do the same labels, also after more was painted; those of another class do not.

    Parameters
    ----------
    run : folder of its run, with the labels that it took; of many those that came first or last are looked at
    labels : array of ``frame.shape``

    Returns
    -------
    None where that cannot be told: it was made without labels, as by clicks alone, or something cannot be
    read, which is said when it matters, at Run
    """
    answer = None
    try:
        for plane, window, taken in _painted(run):
            if np.array_equal(np.maximum(read_plane(labels, frame, plane, window), 0), taken):
                return True
            answer = False
    except (IsegError, OSError):
        return None
    return answer


def _painted(run: Path) -> Iterator[tuple[Plane, Window, npt.NDArray[np.int32]]]:
    """Label ids by place as the supports of a run hold them, 0 also where unknown.

    Accepted planes are left out, and supports without labels: nobody painted what was predicted or clicked.
    """
    accepted = Decisions(run).accepted
    found = [kept for kept in kept_supports(run) if kept.plane not in accepted]
    pixels = 0
    for turn in range(min(len(found), _MOST)):
        kept = found[-1 - turn // 2 if turn % 2 else turn // 2]
        mask = kept.mask()
        if mask is None:  # damaged
            continue
        mask = np.maximum(mask, 0)
        if mask.any():  # else it was clicked
            rows, cols = mask.shape
            yield kept.plane, Window(kept.top, kept.left, kept.top + rows, kept.left + cols), mask
        pixels += mask.size
        if pixels >= _PIXELS:
            return


def _digest(labels: Any, frame: Frame, plane: Plane, window: Window) -> bytes:
    return blake2b(read_plane(labels, frame, plane, window).tobytes(), digest_size=16).digest()
