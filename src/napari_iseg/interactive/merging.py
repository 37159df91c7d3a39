"""How much of a later answer is taken over: a click speaks of one error, and the rest was good enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi
from skimage.segmentation import flood

from napari_iseg.interactive.state import State
from napari_iseg.prompts import Click, Window

Float32 = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]

_TINY = 56  # pixels: side of a window in which an error of the outline is an error of the object
_PATIENCE = 10  # the click from which on even there only parts are changed, so that the mask comes to rest
_NEAR = 2.0  # depths of its error, and a pixel: how far a late click counts there
_NEAR_RIM = 1.5  # pixels over which that fades
_MEMORY = 2.0  # clicks: the answer of click k counts this / k elsewhere, about as the mean of all would
_SETTLED = 4  # the click from which on the mask is taken for nearly right
_RIM = 3.0  # pixels around the changed part over which its share falls
_DEEPER = 1.5  # a part this many times as deep as the click's error is more than that
_REACH = 3.0  # of such a part, what lies within so many of the error's depths may be the error
_BEYOND = 0.2  # share of the answer in the rest of it
_LEAST_DEPTH = 1.5  # pixels: of an error
_LATE = 6  # the click from which on what is left inside the mask is small


@dataclass(frozen=True)
class PartMerging:
    """The share of a new answer that each pixel of a window takes over from the second click on.

    By part: what the click adds or removes counts, elsewhere answers are averaged over the clicks.

    The click's part is the connected region that the answer adds around an object click, or removes around a
    background click, as in FocalClick's progressive merge (arXiv 2204.02574); there the rest
    keeps the mask before, here it takes over 2 / k of the k-th answer.

    A click is taken to lie in the middle of its error, where people and the evaluation place it. So a part
    that is much deeper elsewhere than at the click is more than the error, and changes near the click only.
    And large errors are mended first: after some clicks a background click is not believed to mean an error
    deeper than the object's radius divided by the number of clicks.

    Tiny objects have no parts to speak of: there clicks count near themselves from the fourth to the ninth.

    Parameters
    ----------
    threshold : of the mask
    settled : share of the answer in the click's own part from the fourth click on
    """

    threshold: float
    settled: float

    def share(self, state: State, answer: Float32, window: Window) -> Float32:
        """Shares in [0, 1], (rows, cols) of ``window``; of tiny objects, at first redrawn as a whole, ones.

        ``state`` holds the mask before and the newest click, ``answer`` is of ``state.shape``.
        """
        count = len(state.clicks)
        elsewhere = min(1.0, _MEMORY / count)
        if max(window.shape) <= _TINY and count < _PATIENCE:
            return self._near(state, window, elsewhere if count >= _SETTLED else 1.0)
        most = max(self.settled, elsewhere) if count >= _SETTLED else 1.0
        click = state.grid_clicks[-1]
        part = changed_part(state, answer, window, self.threshold)
        # Where the answer does not follow the click, its immediate surroundings count.
        away = distance(click, window) - _RIM if part is None else _away(part)
        share = _between(1 - away / _RIM, elsewhere, most)
        # The first object clicks may well mean far more than is seen of the object yet.
        if part is not None and count >= (_SETTLED if click.positive else _SETTLED - 1):
            deepest = self._deepest(state)
            return np.where(part, np.minimum(share, _believed(part, distance(click, window), deepest)), share)
        return share

    def _near(self, state: State, window: Window, elsewhere: float) -> Float32:
        """All of the answer near the newest click, as near as its error is deep, ``elsewhere`` of the rest.

        In a tiny object parts are a few pixels, and the outline is all there is to mend.
        """
        click = state.grid_clicks[-1]
        mask = state.probability[window.slices] > self.threshold
        side = ~mask if click.positive else mask
        depth = ndi.distance_transform_edt(np.pad(side, 1, constant_values=click.positive))[1:-1, 1:-1]
        away = distance(click, window)
        at_click = max(1.0, float(depth[np.unravel_index(away.argmin(), away.shape)]))
        return _between(1 - (away - _NEAR * at_click - 1) / _NEAR_RIM, elsewhere, 1.0)

    def _deepest(self, state: State) -> float:
        """How deep an error the newest click may mean, pixels; infinite while it may be any."""
        count = len(state.clicks)
        if count < _LATE or state.clicks[-1].positive:  # an object may go on far outside its mask
            return float("inf")
        return float(np.sqrt(np.count_nonzero(state.probability > self.threshold) / np.pi)) / count


def changed_part(
    state: State, answer: Float32, window: Window, threshold: float, connectivity: int = 1
) -> Bool | None:
    """The region of ``window`` that an answer changes around the newest click, as the click asks; or None.

    ``state`` holds the mask before and the newest click, ``answer`` is of ``state.shape``; with
    ``connectivity`` 2 pixels hang together diagonally too.
    """
    click = state.grid_clicks[-1]
    if not window.contains(click.row, click.col):
        return None
    # Pixel centres are at whole numbers; at the window's very edge rounding may leave it.
    row = min(max(round(click.row) - window.top, 0), window.height - 1)
    col = min(max(round(click.col) - window.left, 0), window.width - 1)
    before = state.probability[window.slices] > threshold
    after = answer[window.slices] > threshold
    changed: npt.NDArray[Any] = (after & ~before) if click.positive else (before & ~after)
    if not changed[row, col]:
        return None
    return np.asarray(flood(changed.view(np.uint8), (row, col), connectivity=connectivity), np.bool_)


def _between(share: npt.NDArray[Any], low: float, high: float) -> Float32:
    return np.asarray(np.clip(share, low, high), np.float32)


def _away(part: Bool) -> npt.NDArray[Any]:
    """Distance to the nearest pixel of ``part`` where it is less than the rim, else at least the rim."""
    rim = int(np.ceil(_RIM))
    spans = [np.flatnonzero(part.any(axis)) for axis in (1, 0)]
    box = tuple(slice(max(0, span[0] - rim), span[-1] + rim + 1) for span in spans)
    away = np.full(part.shape, float(rim))
    away[box] = ndi.distance_transform_edt(~part[box])
    return away


def _believed(part: Bool, away: Float32, deepest: float) -> Float32:
    """The most that may be taken over of ``part``, by how far ``away`` from the click in it a pixel is."""
    box = tuple(slice(span[0], span[-1] + 1) for span in (np.flatnonzero(part.any(axis)) for axis in (1, 0)))
    depth = ndi.distance_transform_edt(np.pad(part[box], 1))[1:-1, 1:-1]
    at_click = float(depth[away[box] < 2].max())  # people miss the very middle by a pixel
    error = max(_LEAST_DEPTH, min(at_click, deepest))
    if depth.max() <= _DEEPER * error:
        return np.ones_like(away)
    return _between(3 - 2 * away / (_REACH * error), _BEYOND, 1.0)


def distance(click: Click, window: Window) -> Float32:
    """Pixels to the click, (rows, cols) of ``window``."""
    rows = np.arange(window.top, window.bottom) - click.row
    cols = np.arange(window.left, window.right) - click.col
    return np.asarray(np.hypot(rows[:, None], cols[None]), np.float32)
