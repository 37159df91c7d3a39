"""Which pixels a later click may change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_iseg.backends.base import Inference
from napari_iseg.interactive.merging import PartMerging, changed_part
from napari_iseg.interactive.rules import window_rule
from napari_iseg.interactive.state import State
from napari_iseg.prompts import Click, Window

ALL = Window(0, 0, 100, 100)
PART = PartMerging(threshold=0.5, settled=0.75)


def state(*clicks: Click, mask: Window) -> State:
    probability = np.zeros((100, 100), np.float32)
    probability[mask.slices] = 1
    return State(ALL, 1, probability, ALL, clicks)


def squares(*windows: Window) -> np.ndarray:
    answer = np.zeros((100, 100), np.float32)
    for window in windows:
        answer[window.slices] = 1
    return answer


def test_a_click_changes_its_part_and_elsewhere_answers_are_averaged() -> None:
    mask = Window(20, 20, 50, 50)
    before = state(Click(30, 30), Click(40, 40), Click(70, 70), mask=mask)
    # The answer adds a part around the newest click and another far from it, and takes a corner away.
    answer = squares(Window(25, 25, 50, 50), Window(65, 65, 75, 75), Window(5, 80, 15, 90))
    share = PART.share(before, answer, ALL)
    assert share[70, 70] == 1
    assert share[65, 65] == 1
    assert share[10, 85] == pytest.approx(2 / 3)
    assert share[21, 21] == pytest.approx(2 / 3)
    assert 2 / 3 <= share[64, 70] < 1  # the rim


def test_a_background_click_takes_away_what_is_connected_to_it() -> None:
    before = state(*[Click(30, 30)] * 4, Click(60, 60, False), mask=Window(20, 20, 80, 80))
    share = PART.share(before, squares(Window(20, 20, 80, 50), Window(5, 5, 10, 10)), ALL)
    assert share[60, 60] == 0.75
    assert share[30, 70] == 0.75
    assert share[7, 7] == pytest.approx(2 / 5)  # added, which a background click does not ask for


def test_a_part_that_is_deeper_than_at_the_click_is_more_than_its_error() -> None:
    mask = Window(20, 20, 80, 80)
    # The answer takes away a spot of 9 pixels around the click, and a half of the object that hangs on it.
    answer = squares(mask)
    answer[46:55, 46:55] = 0
    answer[20:80, 55:80] = 0
    clicks = [Click(30, 30)] * 4
    share = PART.share(state(*clicks, Click(50, 50, False), mask=mask), answer, ALL)
    assert share[50, 50] == share[46, 46] == 0.75
    assert share[50, 75] == pytest.approx(0.2)
    assert share[10, 10] == pytest.approx(2 / 5)
    # In its middle the half is what is meant.
    share = PART.share(state(*clicks, Click(50, 67, False), mask=mask), answer, ALL)
    assert share[25, 78] == share[48, 48] == 0.75


def test_late_background_clicks_mean_small_errors() -> None:
    mask = Window(20, 20, 80, 80)  # its radius is 34
    answer = squares(mask)
    answer[35:66, 35:66] = 0  # 31 pixels wide, the click in its middle
    early, late = (
        PART.share(state(*[Click(30, 30)] * (n - 1), Click(50, 50, False), mask=mask), answer, ALL)
        for n in (5, 10)
    )
    assert (early[35:66, 35:66] == 0.75).all()
    assert late[50, 50] == 0.75
    assert late[50, 65] == pytest.approx(0.2)  # beyond 4.2 times 34 / 10
    # The same around an object click outside: the object may go on there.
    added = np.maximum(squares(mask), squares(Window(30, 80, 70, 99)))
    share = PART.share(state(*[Click(30, 30)] * 9, Click(50, 89), mask=mask), added, ALL)
    assert share[69, 98] == 0.75


@pytest.mark.parametrize(
    ("count", "positive", "far"), [(2, False, 1), (3, False, 0.2), (3, True, 1), (4, True, 0.2)]
)
def test_the_first_clicks_may_mean_far_more(count: int, positive: bool, far: float) -> None:
    small, large = squares(Window(45, 45, 54, 54)), Window(20, 54, 80, 90)
    changed = np.maximum(small, squares(large))
    before, answer = (squares(), changed) if positive else (changed, squares())
    clicks = (*[Click(5, 5, positive)] * (count - 1), Click(49, 49, positive))
    share = PART.share(State(ALL, 1, before, ALL, clicks), answer, ALL)
    assert share[50, 72] == pytest.approx(far)


def test_with_every_click_less_is_changed_elsewhere() -> None:
    clicks = [Click(30, 30 + i) for i in range(20)]
    shares = [
        PART.share(state(*clicks[:n], mask=Window(20, 20, 80, 80)), squares(), ALL)[90, 5] for n in (2, 5, 20)
    ]
    assert shares == pytest.approx([1, 0.4, 0.1])


def test_an_answer_that_ignores_the_click_counts_near_it_only() -> None:
    before = state(*[Click(30, 30)] * 4, Click(90, 90), mask=Window(20, 20, 80, 80))
    share = PART.share(before, squares(Window(20, 20, 80, 80)), ALL)
    assert share[90, 90] == 0.75
    assert share[90, 98] == pytest.approx(2 / 5)


def test_tiny_objects_are_redrawn_until_the_fourth_click_which_counts_near_itself() -> None:
    small, mask = Window(10, 10, 50, 50), Window(20, 20, 40, 40)
    clicks = [Click(30, 30)] * 3
    assert (PART.share(state(*clicks, mask=mask), squares(mask), small) == 1).all()
    # Three pixels deep in the mask: all within 2 x 3 + 1 pixels, fading over 1.5.
    share = PART.share(state(*clicks, Click(30, 22, False), mask=mask), squares(mask), small)
    assert share.shape == small.shape
    np.testing.assert_allclose(share[[20, 13, 20, 20], [19, 12, 20, 21]], [1, 1, 0.5, 0.5])
    assert 0.5 < share[20 + 7, 12 + 2] < 1
    assert share.min() == 0.5
    # An object click is as deep as it lies outside of the mask; one that is inside already, one pixel.
    outside = PART.share(state(*clicks, Click(30, 41), mask=mask), squares(mask), small)
    np.testing.assert_array_equal(outside[20, 31:] == 1, np.arange(41, 50) <= 41 + 2 * 2 + 1)
    inside = PART.share(state(*clicks * 2, Click(30, 30), mask=mask), squares(mask), small)
    np.testing.assert_array_equal(inside[20] == 1, np.abs(np.arange(10, 50) - 30) <= 3)
    assert inside.min() == pytest.approx(2 / 7)
    # From the tenth on parts, as everywhere.
    late = state(*clicks * 3, Click(30, 22, False), mask=mask)
    np.testing.assert_array_equal(
        PART.share(late, squares(mask), small), PART.share(late, squares(mask), ALL)[small.slices]
    )


def test_shares_are_of_the_window() -> None:
    window = Window(10, 20, 90, 95)
    before = state(*[Click(30, 30)] * 4, Click(60, 60, False), mask=Window(20, 20, 80, 80))
    answer = squares(Window(20, 20, 80, 50))
    whole = PART.share(before, answer, ALL)
    np.testing.assert_array_equal(PART.share(before, answer, window), whole[window.slices])


def test_the_settings_name_the_rule() -> None:
    plain = replace(Inference(), window="scale-search", search_sides=(32,))
    assert window_rule(plain).merging is None
    assert window_rule(replace(plain, search_settled=0.75)).merging == PartMerging(plain.threshold, 0.75)


@pytest.mark.parametrize("row", [31.5, 31.7, 32.0, 32.3, 32.49])
def test_a_click_is_in_the_pixel_whose_centre_is_nearest(row) -> None:
    before, answer = np.zeros((64, 64), np.float32), np.zeros((64, 64), np.float32)
    answer[32] = 1
    state = State(Window(0, 0, 64, 64), 1, before, Window(0, 0, 64, 64), (Click(20, 20), Click(row, 40)))
    part = changed_part(state, answer, Window(0, 0, 64, 64), 0.5)
    assert part is not None
    assert np.count_nonzero(part) == 64


def test_clicks_on_the_rim_of_the_window_are_in_its_outermost_pixels() -> None:
    window, before, answer = (
        Window(9, 9, 20, 20),
        np.zeros((64, 64), np.float32),
        np.ones((64, 64), np.float32),
    )
    for row, found in ((8.5, True), (19.49, True), (8.4, False), (19.5, False)):
        state = State(Window(0, 0, 64, 64), 1, before, window, (Click(12, 12), Click(row, 12)))
        assert (changed_part(state, answer, window, 0.5) is not None) == found
