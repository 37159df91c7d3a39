"""Whether labels elsewhere are those of a session recorded before label stores said who writes in them.

What a session may paint from now on, by undoing too, is where it painted before. So labels are taken for its
own only where they bear its record out; those of a stranger's folder hold other things there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_iseg.interactive.history import History, Parts, Step
from napari_iseg.interactive.objects import Paint, Part
from napari_iseg.labels.regions import Region
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Window


def wrote(store: LabelStore, history: History, steps: Sequence[Step]) -> bool:
    """Whether a session with this history, which painted ``steps``, wrote in these labels.

    The store is searched for its objects; give one that is not used further.
    """
    objects = {
        k: parts for k, parts in history.now.objects.items() if any(part.region.pixels for part in parts)
    }
    if not objects:
        return not steps or (_numbers_used(store, history) and _left_nothing(store, steps))
    pieces = [(label, part) for label, parts in objects.items() for part in parts]
    if all((values == label).all() for label, part in pieces for values in _values(store, part)):
        return True
    # Another session may have overwritten some of the pixels; then one object must be there to the pixel.
    covered = all(values.all() for _, part in pieces for values in _values(store, part))
    return (
        covered and _numbers_used(store, history) and any(_exact(store, *entry) for entry in objects.items())
    )


def _numbers_used(store: LabelStore, history: History) -> bool:
    """Whether the labels count all numbers that the session gave as used, which outlasts the objects."""
    return store.next_label() >= history.highest


def _left_nothing(store: LabelStore, steps: Sequence[Step]) -> bool:
    """Whether all that was painted is background now, and no object has a number of the session's."""
    paints = [paint for step in steps for paint in (*step.gone, *step.come)]
    return {paint.label for paint in paints}.isdisjoint(store.labels) and not any(
        values.any() for paint in paints for values in _values(store, paint)
    )


def _exact(store: LabelStore, label: int, parts: Parts) -> bool:
    """Whether an object has all recorded pixels and no other in these places or next to them."""
    rows, cols = store.shape[-2:]
    for part in parts:
        if not all((values == label).all() for values in _values(store, part)):
            return False
        for tile in part.region.tiles:
            near = tile.window
            around = Window(near.top - 1, near.left - 1, near.bottom + 1, near.right + 1)
            around = around.intersect(Window(0, 0, rows, cols))
            rest = Region.pack([(around, store.read(part.plane, around) == label)])
            for other in parts:
                rest = rest.without(other.region) if other.plane == part.plane else rest
            if rest.tiles:
                return False
    return True


def _values(store: LabelStore, painted: Part | Paint) -> list[np.ndarray]:
    """What the labels hold at the pixels of a region, tile by tile."""
    return [store.read(painted.plane, window)[mask] for window, mask in painted.region.masks()]
