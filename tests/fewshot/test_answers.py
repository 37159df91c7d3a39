"""Clicks are never contradicted, and a click that was heard redraws nothing."""

from __future__ import annotations

import numpy as np

from napari_iseg.fewshot.answers import with_known
from napari_iseg.fewshot.base import UNKNOWN, Support
from napari_iseg.prompts import Click


def _object(radius: float) -> np.ndarray:
    rows, cols = np.indices((48, 48))
    inside = ((rows - 24) ** 2 + (cols - 24) ** 2 <= radius**2).astype(np.float32)
    return np.stack([1 - inside, inside])


def _drawn(before: np.ndarray, *clicks: Click) -> np.ndarray:
    unknown = np.full((48, 48), UNKNOWN, np.int32)
    one = Support("a", np.zeros((48, 48, 3), np.float32), unknown, tuple((1, c) for c in clicks))
    return with_known(before, one, [1])


def test_a_click_that_was_heard_leaves_the_outline_beside_it() -> None:
    before = _object(3)
    rim, beside = Click(24, 26.6), Click(24, 29, False)
    assert np.array_equal(_drawn(before, rim, beside), before)


def test_an_unheard_click_is_drawn_with_its_surroundings() -> None:
    after = _drawn(_object(12), Click(24, 42))
    assert after[1, 24, 42] == 1
    assert np.count_nonzero(after[1] != _object(12)[1]) == 29  # a disk of radius 3
    assert np.allclose(after.sum(0), 1)


def test_on_a_small_object_an_unheard_click_draws_less() -> None:
    after = _drawn(_object(2), Click(24, 27))
    assert after[1, 24, 27] == 1
    assert np.count_nonzero(after[1] != _object(2)[1]) <= 5


def test_a_click_at_the_very_edge_is_a_pixel_of_the_image() -> None:
    after = _drawn(_object(5), Click(47.4, 47.49), Click(-0.5, -0.49))
    assert after[1, 47, 47] == after[1, 0, 0] == 1
