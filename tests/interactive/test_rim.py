"""A click on the rim of a small object moves its whole outline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_iseg.backends.base import Inference
from napari_iseg.interactive.rim import RimShift
from napari_iseg.interactive.rules import window_rule
from napari_iseg.interactive.scale_search import ScaleSearch
from napari_iseg.interactive.state import State
from napari_iseg.prompts import Box, Click, Window

ALL = Window(0, 0, 40, 40)
RIM = RimShift(threshold=0.5, share=0.5)
AWAY = np.hypot(*(np.mgrid[:40, :40] - 20.0))


def blurred(radius: float, slope: float = 1.0) -> np.ndarray:
    """The probability of a disk whose outline is at ``radius``, one logit per ``slope`` pixels."""
    return (1 / (1 + np.exp((AWAY - radius) / slope))).astype(np.float32)


def state(*clicks: Click, before: np.ndarray, box: Box | None = None) -> State:
    return State(ALL, 1, before.copy(), ALL, clicks, box)


def radius(probability: np.ndarray, threshold: float = 0.5) -> float:
    return float(np.sqrt((probability > threshold).sum() / np.pi))


@pytest.mark.parametrize("slope", [0.7, 1.0])
@pytest.mark.parametrize(("true", "threshold"), [(8.0, 0.5), (5.0, 0.5), (8.0, 0.3)])
def test_the_whole_outline_moves_towards_a_click_on_it(true, threshold, slope):
    drawn = blurred(6.5, slope)
    outside = true > 6.5
    click = Click(20, 20 + (7.5 if outside else 5.5), positive=outside)
    rim = RimShift(threshold, 0.5)
    moved = rim.shifted(state(Click(20, 20), click, before=drawn), drawn, ALL)
    sooner = abs(radius(drawn, threshold) - radius(blurred(true, slope), threshold))
    assert abs(radius(moved, threshold) - radius(blurred(true, slope), threshold)) < sooner
    far_side = moved[20, 20 - (7 if outside else 6)]
    assert (far_side > drawn[20, 13]) if outside else (far_side < drawn[20, 14])
    assert moved.dtype == np.float32


def test_half_of_what_was_wrong_and_of_a_margin_is_added_as_a_logit():
    drawn = blurred(6.5)
    moved = RIM.shifted(state(Click(20, 20), Click(20, 28), before=drawn), drawn, ALL)
    logits = [np.log(p / (1 - p)) for p in (drawn[20, 25], moved[20, 25])]
    assert logits[1] - logits[0] == pytest.approx(0.5 * (1.5 + 0.3), abs=1e-5)


def test_earlier_clicks_bound_it():
    drawn = blurred(6.5)
    bound = Click(20, 13, positive=False)  # 0.5 logits outside
    moved = RIM.shifted(state(Click(20, 20), bound, Click(20, 28), before=drawn), drawn, ALL)
    assert drawn[20, 13] < moved[20, 13] < 0.5
    # One that the answer has on the wrong side anyway does not.
    wrong = Click(20, 18, positive=False)
    free = RIM.shifted(state(Click(20, 20), wrong, Click(20, 28), before=drawn), drawn, ALL)
    assert free[20, 13] > 0.5


@pytest.mark.parametrize(
    ("clicks", "box"),
    [
        ((Click(20, 28),), None),  # the first says where the object is
        ((Click(20, 20), Click(20, 36)), None),  # what was sure was no outline
        ((Click(20, 20), Click(20, 22)), None),  # nothing was wrong there
        ((), Box(10, 10, 30, 30)),
    ],
)
def test_other_clicks_move_nothing(clicks, box):
    drawn = blurred(6.5)
    assert RIM.shifted(state(*clicks, before=drawn, box=box), drawn, ALL) is drawn


def test_large_objects_have_parts_instead():
    wide = np.zeros((200, 200), np.float32)
    wide[:40, :40] = blurred(6.5)
    large = State(Window(0, 0, 200, 200), 1, wide, None, (Click(20, 20), Click(20, 28)))
    window = Window(0, 0, 90, 90)
    answer = wide[window.slices]
    assert RIM.shifted(large, answer, window) is answer


def test_the_setting_reaches_the_rule_and_its_answers():
    settings = Inference(window="scale-search", search_sides=(32,), threshold=0.5, search_rim=0.5)
    rule = window_rule(settings)
    assert isinstance(rule, ScaleSearch)
    assert rule.rim == RimShift(0.5, 0.5)
    drawn = blurred(6.5)
    before = state(Click(20, 20), Click(20, 28), before=drawn)
    plain = window_rule(replace(settings, search_rim=0.0)).merge(before, drawn, ALL)
    np.testing.assert_array_equal(plain, drawn)
    moved = rule.merge(before, drawn, ALL)
    np.testing.assert_array_equal(moved, RIM.shifted(before, drawn, ALL))
    assert radius(moved) > radius(plain)
