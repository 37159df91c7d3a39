"""Predictor: what a click does, on small planes and with odd inputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from click_fakes import FakeModel, bright_near_clicks

from napari_iseg.backends.base import Inference
from napari_iseg.errors import CancelledError, DeviceError, InputError
from napari_iseg.images import PlaneSource
from napari_iseg.interactive.predictor import Predictor
from napari_iseg.interactive.state import State
from napari_iseg.interactive.zoom import WindowRule, ZoomIn
from napari_iseg.prompts import Box, Click, Window


def blobs(rows: int = 90, cols: int = 120) -> np.ndarray:
    """Two bright disks, one of them left of the middle."""
    r, c = np.mgrid[:rows, :cols]
    bright = ((r - 45) ** 2 + (c - 30) ** 2 < 200) | ((r - 45) ** 2 + (c - 90) ** 2 < 200)
    return (bright * 200 + 20).astype(np.uint8)


def predictor(image: np.ndarray | None = None, **options) -> Predictor:
    inference = Inference(size=(64, 64)).with_options(**options)
    return Predictor(PlaneSource.wrap(blobs() if image is None else image), FakeModel(inference=inference))


def test_a_click_finds_the_object_and_a_background_click_takes_a_part_away():
    p = predictor()
    first = p.step(None, Click(45, 30))
    assert first.area == Window(0, 0, 90, 120)
    assert first.scale == 1
    assert first.probability[45, 30] > 0.5
    assert first.probability[10, 30] < 0.5
    second = p.step(first, Click(45, 90, positive=False))
    assert second.probability[45, 90] < first.probability[45, 90]
    assert second.clicks == (Click(45, 30), Click(45, 90, positive=False))


def test_a_state_is_never_changed_and_replay_gives_the_same_bits():
    p = predictor(refine_steps=2)
    clicks = [Click(45, 30), Click(45, 90), Click(20, 60, positive=False)]
    states: list[State | None] = [None]
    for click in clicks:
        states.append(p.step(states[-1], click))
    assert states[1] is not None
    with pytest.raises(ValueError, match="read-only"):
        states[1].probability[0, 0] = 1
    again = None
    for click, state in zip(clicks, states[1:], strict=True):
        again = predictor(refine_steps=2).step(again, click)
        assert again == state


def test_states_differ_by_any_part():
    state = predictor().step(None, Click(45, 30))
    assert state != State(state.area, state.scale, state.probability, None, state.clicks)
    assert state != State(state.area, state.scale, np.zeros_like(state.probability), state.zoom, state.clicks)
    assert state != "state"


def test_flip_runs_the_mirror_image_in_the_same_batch_and_averages():
    seen = []

    def slanted(image, prev_mask, clicks):
        seen.append((image.clone(), clicks.clone()))
        return torch.linspace(-4, 4, 64).expand(len(image), 1, 64, 64)

    inference = Inference(size=(64, 64))
    p = Predictor(PlaneSource.wrap(blobs()), FakeModel(slanted, inference))
    state = p.step(None, Click(45, 30))
    np.testing.assert_allclose(state.probability, 0.5, atol=1e-6)
    image, clicks = seen[0]
    torch.testing.assert_close(image[0], image[1].flip(2))
    assert clicks[0, 0, :2].tolist() == [64 * 45 / 90, 64 * 30 / 120]
    assert clicks[1, 0, :2].tolist() == [64 * 45 / 90, 64 - 64 * 30 / 120 - 1]
    straight = Predictor(PlaneSource.wrap(blobs()), FakeModel(slanted, inference.with_options(flip=False)))
    assert straight.step(None, Click(45, 30)).probability[0, 0] < 0.05
    assert len(seen[-1][0]) == 1


def test_unused_click_rows_stay_unused_in_the_mirror_image():
    seen = []

    def keep(image, prev_mask, clicks):
        seen.append(clicks)
        return bright_near_clicks(image, prev_mask, clicks)

    Predictor(PlaneSource.wrap(blobs()), FakeModel(keep)).step(None, Click(45, 30))
    assert (seen[0][:, 1] == -1).all()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1, 1, 1]),
        ({"refine_steps": 4}, [5, 1, 1]),
        ({"refine_steps": 4, "refine_clicks": 2}, [5, 5, 1]),
        ({"refine_steps": 2, "refine_clicks": None}, [3, 3, 3]),
        (
            {"refine_steps": 4, "refine_clicks": None, "refine_adaptive": True, "refine_pixels": 10**6},
            [2, 2, 2],
        ),
    ],
)
def test_refinement_runs_as_many_passes_as_set(options: dict, expected: list[int]):
    p, state, counts = predictor(**options), None, []
    for click in (Click(45, 30), Click(40, 30), Click(45, 90)):
        before = p.model.forwards
        state = p.step(state, click)
        counts.append(p.model.forwards - before)
    assert counts == expected


def test_cancelled_work_stops_between_passes():
    p = predictor(refine_steps=5)
    with pytest.raises(CancelledError):
        p.step(None, Click(45, 30), cancelled=lambda: True)
    assert p.model.forwards == 0
    with pytest.raises(CancelledError):
        p.step(None, Click(45, 30), cancelled=lambda: p.model.forwards >= 2)
    assert p.model.forwards == 2


@pytest.mark.parametrize("options", [{}, {"window": "scale-search", "search_sides": (32, 64)}])
def test_a_network_that_answers_nan_is_named_with_what_to_do(options: dict):
    p = predictor(flip=True, **options)
    p.model.network = lambda image, _mask, _clicks: image[:, :1] * float("nan")
    with pytest.raises(
        DeviceError,
        match=r"^The model 'fake' answered with NaN .* precision='float32', .* models verify fake`",
    ):
        p.step(None, Click(45, 30))


@pytest.mark.parametrize("at", [(-1, 5), (90, 5), (5, 120), (5, -0.6), (89.5, 0), (1e9, 0)])
def test_clicks_outside_are_refused_with_the_size(at: tuple[float, float]):
    with pytest.raises(
        InputError,
        match=r"The click \(.*\) lies outside the image of 90 x 120 pixels; give .* to \(89, 119\)",
    ):
        predictor().step(None, Click(*at))


@pytest.mark.parametrize("at", [(-0.5, -0.5), (89.49, 119.49), (44.3, 60.7)])
def test_clicks_on_the_last_half_pixel_and_between_pixels_are_taken(at: tuple[float, float]):
    assert predictor().step(None, Click(*at)).probability.shape == (90, 120)


def test_only_background_clicks_give_an_empty_mask_without_asking_the_network():
    p = predictor()
    state = p.step(p.step(None, Click(45, 30, positive=False)), Click(5, 5, positive=False))
    assert not state.probability.any()
    assert p.model.forwards == 0
    after = p.step(state, Click(45, 90))
    assert after.probability[45, 90] > 0.5


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 3), (1, 50), (50, 1), (2, 3)])
def test_the_smallest_images_work(shape: tuple[int, ...]):
    p = predictor(np.full(shape, 250, np.uint8), refine_steps=1)
    state = p.step(None, Click(0, 0))
    state = p.step(state, Click(shape[0] - 1, shape[1] - 1))
    state = p.step(state, Click(0, shape[1] - 1, positive=False))
    assert state.probability.shape == shape[:2]
    assert np.isfinite(state.probability).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0])
def test_images_without_any_contrast_work(value: float):
    state = predictor(np.full((30, 30), value)).step(None, Click(4, 4))
    assert np.isfinite(state.probability).all()


def test_planes_of_a_stack_are_told_apart():
    stack = np.stack([blobs(), np.zeros_like(blobs()) + 20])
    source = PlaneSource.wrap(stack)
    bright, dark = (Predictor(source, FakeModel(), (i,)).step(None, Click(45, 30)) for i in range(2))
    assert bright.probability[45, 30] > 0.5 > dark.probability[45, 30]


def test_boxes_are_refused_by_models_that_take_none():
    p = predictor()
    with pytest.raises(InputError, match="does not take boxes"):
        p.step(None, Click(45, 30), box=Box(20, 20, 60, 50))


def test_an_unknown_window_rule_is_refused():
    with pytest.raises(InputError, match="zoom-in"):
        predictor(window="none")


def test_of_several_windows_the_best_scored_wins_in_one_batch():
    class Corners(WindowRule):
        def windows(self, state):
            return Window(0, 60, 90, 120), Window(20, 10, 70, 50), Window(0, 0, 10, 10)

        def weights(self, state, answers, scores):
            return (scores == scores.max()).astype(np.float32)

    p = predictor()
    p.rule = Corners()
    state = p.step(None, Click(45, 30))
    assert p.model.batches == [6]
    assert state.zoom == Window(20, 10, 70, 50)
    assert not state.probability[:20].any()


def test_a_second_look_is_shown_the_mask_before_the_pass_and_counts_one_each_window():
    seen: list[tuple[tuple[int, ...], float]] = []

    def network(image, prev_mask, clicks):
        seen.append((tuple(image.shape), float(prev_mask.max())))
        return torch.full((len(image), 1, *image.shape[-2:]), {1: 0.0, 2: 40.0}[len(seen)])

    class Twice(ZoomIn):
        def again(self, state, answer):
            assert (answer == 0.5).all()
            return Window(40, 20, 50, 40), Window(0, 0, 45, 60)

    p = predictor(flip=False)
    p.model.network, p.rule = network, Twice()
    state = p.step(None, Click(45, 30))
    assert [shape[0] for shape, _ in seen] == [1, 2]
    assert [most for _, most in seen] == [0, 0]
    assert state.zoom == Window(0, 0, 90, 120)
    # The first window says 0.5 everywhere, each of the two others 1 where it lies.
    np.testing.assert_allclose(
        state.probability[[80, 47, 10, 42], [30, 30, 30, 30]], [0.5, 0.75, 0.75, 5 / 6]
    )


def test_a_rule_may_keep_other_answers_and_go_on_from_one_of_them_at_the_next_click():
    seen: list[tuple[int, float, int]] = []
    small, large = Window(20, 10, 70, 50), Window(0, 0, 90, 120)

    def network(image, prev_mask, clicks):
        used = int((clicks[0, :, 2] >= 0).sum())
        seen.append((len(image), float(prev_mask.max()), used))
        return torch.full((len(image), 1, *image.shape[-2:]), 40.0)

    class Rethinking(WindowRule):
        def windows(self, state):
            return (large,) if len(state.clicks) > 1 else (small, large)

        def spare(self, state, answer, windows):
            assert answer.shape == state.shape
            return [k for k, window in enumerate(windows) if window == small and len(windows) > 1]

        def rethought(self, state):
            if state.tried is None:
                return state
            return replace(state, tried=None, probability=np.full_like(state.probability, 0.25))

    p = predictor(flip=False)
    p.model.network, p.rule = network, Rethinking()
    first = p.step(None, Click(45, 30))
    assert first.tried is not None
    assert list(first.tried.windows) == [small]
    assert [answer.shape for answer in first.tried.answers] == [small.shape]
    assert len(first.tried.scores) == 1
    second = p.step(first, Click(45, 90, positive=False))
    assert seen == [(2, 0.0, 1), (1, 0.25, 2)]
    assert second.clicks == (*first.clicks, Click(45, 90, positive=False))
    assert second.tried is None


def test_a_rule_may_keep_what_lies_outside_its_window():
    class Merging(WindowRule):
        def windows(self, state):
            return (Window(0, 0, 90, 60),)

        def merge(self, state, answer, window):
            kept = np.full_like(answer, 0.25)
            kept[window.slices] = answer[window.slices]
            return kept

    p = predictor()
    p.rule = Merging()
    state = p.step(None, Click(45, 30))
    assert (state.probability[:, 60:] == 0.25).all()


def test_the_image_is_read_once_per_area():
    class Reading(PlaneSource):
        reads = 0

        def read(self, *args, **kwargs):
            self.reads += 1
            return super().read(*args, **kwargs)

    source = Reading(PlaneSource.wrap(blobs())._pyramid)
    p, state = Predictor(source, FakeModel(inference=Inference(size=(64, 64), refine_steps=2))), None
    for _ in range(3):
        state = p.step(state, Click(45, 30))
    assert source.reads == 1


def test_start_is_the_empty_state_of_the_same_area():
    p = predictor()
    for at in (Click(45, 30), Box(20, 20, 60, 50)):
        state = p.start(at)
        assert (state.area, state.scale, state.zoom, state.clicks) == (Window(0, 0, 90, 120), 1, None, ())
        assert not state.probability.any()
    assert p.step(p.start(Click(45, 30)), Click(45, 30)) == p.step(None, Click(45, 30))
