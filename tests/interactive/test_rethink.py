"""A background click in the middle of the first answer: the answers that were not chosen are heard again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_iseg.interactive.area import grown
from napari_iseg.interactive.rethink import other_object, refutes, stability
from napari_iseg.interactive.scale_search import ScaleSearch
from napari_iseg.interactive.state import State, Tried
from napari_iseg.prompts import Box, Click, Window

RULE = ScaleSearch((20, 100), expand=1.5, min_side=24, keep_iou=0.7, threshold=0.5, rethink=True)
WINDOWS = (Window(10, 10, 30, 30), Window(0, 0, 100, 100))
MIDDLE = Click(59, 59, False)


def mask_of(window: Window, shape: tuple[int, int] = (100, 100)) -> np.ndarray:
    mask = np.zeros(shape, np.float32)
    mask[window.slices] = 1
    return mask


def state(*clicks: Click, mask: Window) -> State:
    return State(Window(0, 0, 100, 100), 1, mask_of(mask), WINDOWS[1], clicks)


@pytest.mark.parametrize(
    ("click", "expected"),
    [
        (MIDDLE, True),
        (Click(58.4, 57.6, False), True),
        (Click(50, 59, False), True),  # people do not hit the very middle
        (Click(48, 59, False), False),
        (Click(59, 59, True), False),
        (Click(40, 59, False), False),  # off the middle: a part of the mask may be right
        (Click(5, 5, False), False),  # outside the mask
        (Click(-3, 59, False), False),
        (Click(2, 95, False), True),  # of its own part, however small
    ],
)
def test_only_a_background_click_in_the_middle_of_its_part_refutes_it(click: Click, expected: bool) -> None:
    mask = (mask_of(Window(20, 20, 100, 100)) + mask_of(Window(1, 94, 4, 97))) > 0
    assert refutes(click, mask) is expected


def test_a_mask_that_hangs_on_the_threshold_is_not_stable() -> None:
    answers = np.stack([np.full((4, 4), 0.9), np.full((4, 4), 0.5), np.zeros((4, 4))]).astype(np.float32)
    answers[0, 0, 0] = 0.5
    assert stability(answers).tolist() == pytest.approx([15 / 16, 0, 0])
    assert stability([*answers]).tolist() == stability(answers).tolist()


def small(side: int = 6) -> np.ndarray:
    return mask_of(Window(7, 7, 7 + side, 7 + side), (20, 20))


@pytest.mark.parametrize(
    ("answers", "beliefs", "expected"),
    [
        ((small(), np.ones((100, 100))), (0.15, 0.9), 0),
        ((small(), np.ones((100, 100))), (0.14, 0.9), None),  # a speck under the click
        ((small(20), np.ones((100, 100))), (0.5, 0.9), 0),
        ((small(), mask_of(Window(0, 0, 50, 50))), (0.5, 0.9), None),  # not so much smaller: the best counts
        ((small(), mask_of(Window(0, 0, 50, 50))), (0.9, 0.5), 0),
        ((np.zeros((20, 20)), np.ones((100, 100))), (0.9, 0.9), None),
    ],
)
def test_the_most_believed_answer_without_the_click_wins_if_it_is_small(answers, beliefs, expected) -> None:
    assert other_object(5000, MIDDLE, WINDOWS, answers, np.array(beliefs, np.float32), 0.5) == expected


def test_an_answer_with_the_click_is_out_wherever_its_window_lies() -> None:
    elsewhere = (WINDOWS[0], Window(50, 50, 70, 70))  # there the click is at 9, 9
    beliefs = np.array([0.3, 0.4])
    assert other_object(5000, MIDDLE, elsewhere, (small(), small(20)), beliefs, 0.5) == 0
    assert other_object(5000, MIDDLE, elsewhere, (small(), small(2)), beliefs, 0.5) == 1


def test_a_large_answer_is_left_to_the_usual_windows() -> None:
    assert other_object(359, MIDDLE, WINDOWS, (small(), small()), np.array([0.5, 0.4]), 0.5) is None
    assert other_object(360, MIDDLE, WINDOWS, (small(), small()), np.array([0.5, 0.4]), 0.5) == 0


def tried(*answers: np.ndarray, scores: tuple[float, ...] = (0.6, 0.9)) -> Tried:
    return Tried(WINDOWS[: len(answers)], answers, np.array(scores[: len(answers)], np.float32))


def test_of_the_first_clicks_squares_those_are_kept_that_are_no_larger_than_what_it_found() -> None:
    blank = State(Window(0, 0, 100, 100), 1, np.zeros((100, 100), np.float32), None, (Click(20, 20),))
    for window, expected in (
        (Window(20, 20, 100, 100), [0]),
        (Window(20, 20, 40, 40), [0]),
        (Window(20, 20, 40, 39), []),
        (Window(0, 0, 100, 100), [0, 1]),
    ):
        assert list(RULE.spare(blank, mask_of(window), WINDOWS)) == expected
    found = mask_of(Window(20, 20, 100, 100))
    for other in (
        replace(blank, box=Box(20, 20, 100, 100)),
        replace(blank, clicks=(Click(20, 20, False), Click(21, 21))),
        replace(blank, zoom=WINDOWS[1]),  # a later look at the same click
    ):
        assert list(RULE.spare(other, found, WINDOWS)) == []
    assert list(replace(RULE, rethink=False).spare(blank, found, WINDOWS)) == []


def test_the_rule_goes_on_from_the_other_answer_and_keeps_the_clicks() -> None:
    wrong = mask_of(Window(20, 20, 100, 100))
    refuted = replace(
        state(Click(20, 20), MIDDLE, mask=Window(20, 20, 100, 100)), tried=tried(small(), wrong)
    )
    after = RULE.rethought(refuted)
    assert after.clicks == refuted.clicks
    assert (after.zoom, after.tried) == (WINDOWS[0], None)
    np.testing.assert_array_equal(after.probability, mask_of(Window(17, 17, 23, 23)))


def test_the_rule_goes_on_as_it_was_where_nothing_is_refuted_or_there_is_nothing_better() -> None:
    mask = Window(20, 20, 100, 100)
    refuted = replace(state(Click(20, 20), MIDDLE, mask=mask), tried=tried(small()))
    for same in (
        replace(refuted, tried=tried(mask_of(mask))),  # holds the click
        replace(refuted, tried=tried(small(), scores=(0.1,))),
        replace(refuted, clicks=(Click(20, 20), Click(25, 25, False))),
        replace(refuted, clicks=(*refuted.clicks, MIDDLE)),
        replace(refuted, box=Box(20, 20, 100, 100)),
    ):
        assert RULE.rethought(same) == replace(same, tried=None)
    assert RULE.rethought(replace(refuted, tried=None)) == replace(refuted, tried=None)
    # More passes for the first click leave its other answers for the second.
    first = replace(refuted, clicks=refuted.clicks[:1])
    assert RULE.rethought(first) is first


def test_states_differ_in_what_else_was_found_and_an_area_that_grows_forgets_it() -> None:
    one = replace(state(Click(20, 20), mask=Window(20, 20, 100, 100)), tried=tried(small()))
    assert one == replace(one, tried=tried(small()))
    for other in (None, tried(small(8)), tried(small(), scores=(0.5,)), tried(small(), small())):
        assert one != replace(one, tried=other)
    assert one.nbytes == replace(one, tried=None).nbytes + 400 * 4
    assert grown(one, Click(150, 20), (200, 200), 100, 0.5).tried is None
