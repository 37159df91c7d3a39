"""The zoom-in rule, apart from the traces."""

from __future__ import annotations

import numpy as np
import pytest

from napari_iseg.interactive.state import State
from napari_iseg.interactive.zoom import ZoomIn, overlap
from napari_iseg.prompts import Click, Window


def state(mask: Window | None, *clicks: Click, zoom: Window | None = None, shape=(600, 800)) -> State:
    probability = np.zeros(shape, np.float32)
    if mask is not None:
        probability[mask.slices] = 0.6
    return State(Window.of_shape(shape), 1, probability, zoom, clicks)


def test_without_a_mask_the_whole_grid_is_looked_at():
    assert ZoomIn().windows(state(None, Click(5, 5))) == (Window(0, 0, 600, 800),)


@pytest.mark.parametrize(
    ("mask", "click", "expected"),
    [
        # 1.4 * 301 = 421.4 about 250; edges 39.3 and 460.7, inclusive
        (Window(100, 100, 401, 401), Click(250, 250), Window(39, 39, 462, 462)),
        # at least 200 about the centre, both inclusive ends kept
        (Window(300, 400, 301, 401), Click(300, 400), Window(200, 300, 401, 501)),
        # halves are rounded to even
        (Window(300, 400, 302, 401), Click(300, 400), Window(200, 300, 401, 501)),
        # clamped to the grid
        (Window(0, 0, 20, 20), Click(5, 5), Window(0, 0, 111, 111)),
        # a positive click outside the mask widens the box (239.3 to 660.7), a negative one does not
        (Window(300, 300, 301, 301), Click(300, 600), Window(200, 239, 401, 662)),
        (Window(300, 300, 301, 301), Click(300, 600, positive=False), Window(200, 200, 401, 401)),
    ],
)
def test_candidates(mask: Window, click: Click, expected: Window):
    assert ZoomIn().candidate(state(mask, click)) == expected


def test_the_present_crop_is_kept_while_the_object_stays_in_it():
    present = Window(39, 39, 462, 462)
    mask = Window(100, 100, 401, 401)
    rule = ZoomIn()
    assert rule.windows(state(mask, Click(250, 250), zoom=present)) == (present,)
    assert rule.windows(state(mask, Click(250, 250), Click(500, 100, positive=False), zoom=present)) == (
        present,
    )
    moved = rule.windows(state(mask, Click(250, 250), Click(461, 250), zoom=present))
    assert moved == (rule.candidate(state(mask, Click(250, 250), Click(461, 250))),)
    small = state(Window(300, 300, 310, 310), Click(305, 305), zoom=Window(0, 0, 600, 800))
    assert rule.windows(small) == (rule.candidate(small),)


def test_overlap_is_the_product_of_interval_ious():
    assert overlap(Window(0, 0, 10, 10), Window(0, 5, 10, 15)) == pytest.approx(1 / 3)
    assert overlap(Window(0, 0, 4, 10), Window(2, 0, 6, 5)) == pytest.approx(1 / 6)
    assert overlap(Window(0, 0, 5, 5), Window(7, 0, 9, 5)) == 0


def test_windows_are_never_empty_on_one_pixel():
    one = state(Window(0, 0, 1, 1), Click(0, 0), shape=(1, 1))
    assert ZoomIn().candidate(one) == Window(0, 0, 1, 1)
    assert ZoomIn().windows(State(one.area, 1, one.probability, Window(0, 0, 1, 1), one.clicks)) == (
        Window(0, 0, 1, 1),
    )
