"""A click on the rim of a small object speaks of its whole outline.

In a small object most of what is wrong is the outline: the network draws it where it learnt to, people draw
it a pixel further in or out, by habit, microscope and blur. A click there would mend one place of many, so
a share of what was wrong at the click, as a logit, is added to the whole answer. It is the least of the
corrections that backpropagating refinement (f-BRS, arXiv 2001.10331) searches for, a bias, without any
search.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_iseg.interactive.state import State
from napari_iseg.prompts import Click, Window

Float32 = npt.NDArray[np.float32]

_WIDEST = 80  # pixels: side of a window up to which an object is small
_UNSURE = 2.5  # logits from the threshold: what was wrong by more than that was no outline
_MARGIN = 0.3  # logits beyond the threshold that a click wants
_KEPT = 0.05  # logits by which pixels clicked before stay on their side
_LEAST = 1e-4  # probabilities are kept so far from 0 and 1


@dataclass(frozen=True)
class RimShift:
    """Adds a share of what was wrong at the newest click to the logits of a window.

    Parameters
    ----------
    threshold : of the mask
    share : in [0, 1]
    """

    threshold: float
    share: float

    def shifted(self, state: State, answer: Float32, window: Window) -> Float32:
        """The answer (rows, cols) of ``window``, shifted where the click says so.

        ``state`` holds the mask before and the newest click. Pixels of earlier clicks that the answer has on
        the right side stay there.
        """
        if len(state.clicks) < 2 or max(window.shape) > _WIDEST:
            return answer
        *earlier, newest = state.grid_clicks
        sign = 1.0 if newest.positive else -1.0
        wrong = -sign * float(self._logits(state.probability[pixel(newest, Window.of_shape(state.shape))]))
        if not 0 <= wrong <= _UNSURE:
            return answer
        logits = self._logits(answer)
        shift = self.share * (wrong + _MARGIN)
        for click in earlier:
            if click.positive != newest.positive and window.contains(click.row, click.col):
                room = -sign * float(logits[pixel(click, window)])
                shift = min(shift, room - _KEPT) if room > 0 else shift
        if shift <= 0:
            return answer
        moved = logits + sign * shift + self._zero
        return np.asarray(1 / (1 + np.exp(-moved)), np.float32)

    def _logits(self, probability: Float32) -> npt.NDArray[np.float64]:
        """Logits less that of the threshold: positive is object."""
        return _logit(np.asarray(probability, np.float64)) - self._zero

    @property
    def _zero(self) -> float:
        return float(_logit(np.float64(self.threshold)))


def pixel(click: Click, window: Window) -> tuple[int, int]:
    """The pixel of ``window`` that a click in it lies in, counted from its corner."""
    row, col = round(click.row) - window.top, round(click.col) - window.left
    return min(max(row, 0), window.height - 1), min(max(col, 0), window.width - 1)


def _logit(probability: npt.NDArray[np.float64] | np.float64) -> npt.NDArray[np.float64]:
    inside = np.clip(probability, _LEAST, 1 - _LEAST)
    return np.asarray(np.log(inside / (1 - inside)))
