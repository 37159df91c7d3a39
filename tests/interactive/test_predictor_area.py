"""Large planes: which part is worked on, what is read, and how it grows."""

from __future__ import annotations

import numpy as np
import pytest
from click_fakes import FakeModel
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_iseg.images import PlaneSource
from napari_iseg.interactive.area import first_area, grid_shape, grown
from napari_iseg.interactive.predictor import Predictor
from napari_iseg.interactive.state import State, to_grid
from napari_iseg.prompts import Box, Click, Window

PLANE = (9000, 12000)
MIDDLE = Window(1024, 1024, 2048, 2048)


@pytest.mark.parametrize("context", [1024, None])
def test_small_planes_are_worked_on_whole_whatever_is_shown(context: int | None):
    area = first_area((1024, 700), Click(3, 3), Window(0, 0, 20, 20), context)
    assert area == (Window(0, 0, 1024, 700), 1)


def test_without_a_context_any_plane_is_worked_on_whole():
    assert first_area(PLANE, Click(3, 3), None, None) == (Window(0, 0, *PLANE), 1)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ((4000, 5000), Window(3488, 4488, 4512, 5512)),
        ((0, 0), Window(0, 0, 1024, 1024)),
        ((8999, 11999), Window(7976, 10976, 9000, 12000)),
    ],
)
def test_headless_the_context_is_1024_pixels_inside_the_plane(at: tuple[int, int], expected: Window):
    assert first_area(PLANE, Click(*at), None, 1024) == (expected, 1)


def test_narrow_planes_are_cut_on_one_axis_only():
    assert first_area((50, 9000), Click(25, 4000), None, 1024) == (Window(0, 3488, 50, 4512), 1)


@pytest.mark.parametrize(
    ("view", "area", "scale"),
    [
        (Window(100, 200, 900, 1200), Window(100, 200, 900, 1200), 1),
        (Window(-500, -500, 3000, 2000), Window(0, 0, 3000, 2000), 3),
        (Window(1001, 1002, 3001, 3002), Window(1000, 1002, 3001, 3002), 2),
        (Window(0, 0, *PLANE), Window(0, 0, *PLANE), 12),
        (Window(490, 590, 510, 610), Window(400, 500, 600, 700), 1),
    ],
)
def test_the_view_is_the_area_at_the_scale_that_fits(view: Window, area: Window, scale: int):
    middle = Click((area.top + area.bottom) / 2, (area.left + area.right) / 2)
    assert first_area(PLANE, middle, view, 1024) == (area, scale)


def test_a_view_beside_the_plane_counts_for_nothing_and_one_beside_the_click_is_widened():
    click = Click(4000, 5000)
    assert first_area(PLANE, click, Window(-50, 0, 0, 50), 1024) == first_area(PLANE, click, None, 1024)
    area, _ = first_area(PLANE, click, Window(3000, 3000, 3500, 3500), 1024)
    assert area.contains(4000, 5000)


def test_a_box_is_held_whole():
    area, scale = first_area(PLANE, Box(100, 100, 3100, 300), None, 1024)
    assert area.union(Window(100, 100, 3100, 300)) == area
    assert scale == 3


plane_shapes = st.tuples(st.integers(1, 700), st.integers(1, 700))


@st.composite
def situations(draw: st.DrawFn) -> tuple[tuple[int, int], State, Click, int]:
    """A plane, a state on it with some probabilities, and a next click anywhere on the plane."""
    shape, context = draw(plane_shapes), draw(st.sampled_from([32, 50]))
    clicks = [Click(draw(st.integers(0, shape[0] - 1)), draw(st.integers(0, shape[1] - 1))) for _ in range(2)]
    corners = [draw(st.integers(-20, 720)) for _ in range(4)]
    view = Window(min(corners[:2]), min(corners[2:]), max(corners[:2]), max(corners[2:]))
    area, scale = first_area(shape, clicks[0], draw(st.sampled_from([None, view])), context)
    probability = np.random.default_rng(draw(st.integers(0, 99))).random(grid_shape(area, scale), np.float32)
    return shape, State(area, scale, probability, clicks=(clicks[0],)), clicks[1], context


@settings(max_examples=200, deadline=None)
@given(situations())
def test_growing_holds_the_click_and_keeps_every_probability(situation):
    shape, state, click, context = situation
    after = grown(state, click, shape, context, 0.5)
    assert after.area.contains(click.row, click.col)
    assert after.area.union(state.area) == after.area
    assert after.area.intersect(Window.of_shape(shape)) == after.area
    assert after.shape == grid_shape(after.area, after.scale)
    assert max(after.shape) <= 2 * context + 1
    times = after.scale // state.scale
    assert state.scale * times == after.scale
    np.testing.assert_allclose(
        after.probability.sum() * times**2, state.probability.sum(), rtol=1e-4, atol=1e-4
    )
    if times == 1:
        top, left = (
            (a - b) // state.scale for a, b in zip(*(corner(s) for s in (state, after)), strict=True)
        )
        rows, cols = state.shape
        np.testing.assert_array_equal(
            after.probability[top : top + rows, left : left + cols], state.probability
        )
    if after.area == state.area:
        assert after is state


def corner(state: State) -> tuple[int, int]:
    return state.area.top, state.area.left


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 99),
    st.integers(0, 99),
    st.integers(1, 9),
    st.tuples(st.floats(0, 500), st.floats(0, 500)),
)
def test_grid_coordinates_come_back(top: int, left: int, scale: int, at: tuple[float, float]):
    there = to_grid(Click(*at), Window(top, left, top + 500, left + 500), scale)
    np.testing.assert_allclose((there.row + 0.5) * scale + top - 0.5, at[0], atol=1e-9)
    np.testing.assert_allclose((there.col + 0.5) * scale + left - 0.5, at[1], atol=1e-9)


def state_with(mask: Window, area: Window = MIDDLE) -> State:
    probability = np.zeros(area.shape, np.float32)
    probability[mask.slices] = 1
    return State(area, 1, probability, zoom=Window(0, 0, 50, 50), clicks=(Click(1500, 1500),))


def test_an_area_whose_mask_is_cut_off_grows_towards_a_click_near_that_border():
    cut = state_with(Window(300, 0, 400, 500))
    after = grown(cut, Click(1374, 1030), PLANE, 1024, 0.5)
    assert after.area == Window(862, 518, 2048, 2048)
    assert after.zoom is None


@pytest.mark.parametrize("click", [Click(1374, 1500), Click(1374, 2040)])
def test_it_does_not_grow_for_a_click_far_from_the_cut(click: Click):
    cut = state_with(Window(300, 0, 400, 500))
    assert grown(cut, click, PLANE, 1024, 0.5) is cut


def test_it_does_not_grow_while_the_mask_lies_inside_or_at_the_plane_s_own_border():
    inside = state_with(Window(300, 1, 400, 500))
    assert grown(inside, Click(1374, 1030), PLANE, 1024, 0.5) is inside
    corner_state = state_with(Window(0, 0, 400, 500), Window(0, 0, 1024, 1024))
    assert grown(corner_state, Click(5, 5), PLANE, 1024, 0.5) is corner_state


def scene() -> np.ndarray:
    """A 3000 x 2500 plane with one bright square of 1400 pixels."""
    image = np.zeros((3000, 2500), np.uint8)
    image[900:2300, 500:1900] = 220
    return image


def test_an_object_larger_than_the_first_area_is_followed_by_clicks():
    p, image = Predictor(PlaneSource.wrap(scene()), FakeModel()), scene()
    state = p.step(None, Click(1000, 600))
    assert state.area == Window(488, 88, 1512, 1112)
    state = p.step(state, Click(1450, 1050))
    state = p.step(state, Click(2200, 1800))
    assert state.area.contains(2200, 1800)
    # the grey of the scene at the click positions, on the grid
    for click in state.clicks:
        here = to_grid(click, state.area, state.scale)
        assert image[int(click.row), int(click.col)] == 220
        assert state.probability[round(here.row), round(here.col)] > 0.5


def test_a_coarse_view_and_a_fine_context_see_the_object_in_the_same_place():
    source = PlaneSource.wrap(scene())
    coarse = Predictor(source, FakeModel()).step(None, Click(1500, 1200), view=Window(0, 0, 3000, 2500))
    assert coarse.scale == 3
    assert coarse.shape == (1000, 834)
    rows = np.flatnonzero((coarse.probability > 0.5).any(1))
    assert abs(rows[0] * 3 - 900) <= 100
    assert abs(rows[-1] * 3 - 2300) <= 100


def test_a_background_click_far_away_leaves_the_area_as_fine_as_it_is():
    model = FakeModel()
    p = Predictor(PlaneSource.wrap(np.zeros(PLANE, np.uint8)), model)
    first = p.step(None, Click(4000, 5000))
    asked = model.forwards
    far = Click(4000, 9000, positive=False)
    second = p.step(first, far)
    assert (second.area, second.scale, second.clicks) == (first.area, 1, (*first.clicks, far))
    np.testing.assert_array_equal(second.probability, first.probability)
    assert model.forwards == asked
    assert p.step(first, far) == second
    newest = Click(4010, 5010)
    third = p.step(second, newest)
    assert third.grid_clicks == tuple(to_grid(c, first.area, 1) for c in (*first.clicks, newest))
    near = p.step(first, Click(4000, 5600, positive=False))
    assert near.area.contains(4000, 5600)
    assert p.step(second, Click(4000, 9000)).grid_clicks[1:] == tuple(
        to_grid(c, Window(3488, 4488, 4512, 9512), 4) for c in (far, Click(4000, 9000))
    )


def test_only_the_area_is_read():
    class Counting:
        shape, dtype, ndim = (30_000, 40_000), np.dtype(np.uint8), 2
        read = 0

        def __getitem__(self, index):
            part = np.zeros([i.stop - i.start for i in index], np.uint8)
            self.read += part.size
            return part

    array = Counting()
    Predictor(PlaneSource.wrap(array), FakeModel()).step(None, Click(20_000, 20_000))
    assert array.read == 1024 * 1024


def test_replay_of_views_and_growth_is_exact():
    source, clicks = (
        PlaneSource.wrap(scene()),
        [Click(1000, 600), Click(2900, 2400), Click(10, 10, positive=False)],
    )
    view = Window(700, 300, 1900, 1500)
    ends = []
    for _ in range(2):
        p, state = Predictor(source, FakeModel()), None
        for click in clicks:
            state = p.step(state, click, view=view)
        ends.append(state)
    assert ends[0] == ends[1]
    assert ends[0].area == Window(0, 0, 3000, 2500)
