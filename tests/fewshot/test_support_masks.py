"""One object or its class: which of the two looks at a clicked support is taken."""

from __future__ import annotations

import numpy as np

from napari_iseg.fewshot.support_masks import _class_meant
from napari_iseg.interactive.state import State
from napari_iseg.prompts import Click, Window


def _disks(*centres: tuple[int, int], radius: float = 8.0) -> np.ndarray:
    rows, cols = np.indices((96, 96))
    inside = np.zeros((96, 96), bool)
    for row, col in centres:
        inside |= (rows - row) ** 2 + (cols - col) ** 2 < radius**2
    return inside.astype(np.float32)


def _state(zoom: Window | None) -> State:
    return State(Window(0, 0, 96, 96), 1, _disks((30, 30)), zoom, (Click(30, 30),))


def test_the_class_is_taken_where_both_draw_the_clicked_object_alike() -> None:
    seen = _disks((30, 30), (70, 70), (70, 20))
    taken = _class_meant(_state(Window(18, 18, 42, 42)), seen)
    assert np.array_equal(taken.probability, seen)
    assert taken.zoom is None  # the next window has to hold all of it
    assert taken.clicks == (Click(30, 30),)


def test_the_object_is_kept_where_they_do_not() -> None:
    state = _state(Window(18, 18, 42, 42))
    assert _class_meant(state, _disks((30, 30), (70, 70), radius=14)) is state
    assert _class_meant(state, np.zeros((96, 96), np.float32)) is state


def test_without_a_window_the_whole_picture_is_compared() -> None:
    state = _state(None)
    assert _class_meant(state, _disks((30, 30), (70, 70), (70, 20))) is state
