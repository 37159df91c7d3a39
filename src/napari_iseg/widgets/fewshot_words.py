"""What the few-shot dock says of a run, in words."""

from __future__ import annotations

import numpy as np

from napari_iseg.fewshot.propagate import RunReport


def time_left(seconds: float) -> str:
    """A time that people read."""
    if seconds < 90:
        return f"{np.ceil(seconds):.0f} s left"
    return f"{np.ceil(seconds / 60):.0f} min left" if seconds < 5400 else f"{seconds / 3600:.1f} h left"


def pieces_of(count: int, whole: bool, which: str = "") -> str:
    """How many slices, or tiles where they are not whole."""
    return f"{count} {which}{'slice' if whole else 'tile'}{'' if count == 1 else 's'}"


def words_on_failed(result: RunReport, whole: bool) -> str:
    """What could not be done, and what to do."""
    first = result.failed[0]
    which = f"{pieces_of(len(result.failed), whole)} failed, first {first.where}"
    return f"{which}: {first.reason.rstrip('.')}. Run again to retry."


def words_on_end(result: RunReport, whole: bool) -> str:
    """What was done."""
    stopped = "Stopped; run again to go on." if result.cancelled else "Done."
    done = f"{pieces_of(result.computed, whole)} computed, mean trust {result.trust:.2f}."
    if result.next is None and not (result.cancelled or result.failed):
        done = "Nothing is left to predict."
    return f"{stopped} {done}"
