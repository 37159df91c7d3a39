"""Our window rule: several scales for the first click, then close around the object."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from click_fakes import FakeModel, bright_near_clicks

from napari_iseg.backends.base import Inference
from napari_iseg.images import PlaneSource
from napari_iseg.interactive.passes import mean_of_windows
from napari_iseg.interactive.predictor import Predictor
from napari_iseg.interactive.scale_search import ScaleSearch
from napari_iseg.interactive.state import State
from napari_iseg.interactive.window_grid import PublishedGrid
from napari_iseg.interactive.zoom import Look
from napari_iseg.prompts import Click, Window

USUAL = Look((128, 128), False)
RULE = ScaleSearch((32, 64, 512), expand=1.5, min_side=24, keep_iou=0.7, threshold=0.5)


def state(
    shape: tuple[int, int], *clicks: Click, mask: Window | None = None, zoom: Window | None = None
) -> State:
    probability = np.zeros(shape, np.float32)
    if mask is not None:
        probability[mask.slices] = 1.0
    return State(Window.of_shape(shape), 1, probability, zoom, tuple(clicks))


def test_the_first_click_tries_squares_around_it_shifted_into_the_image() -> None:
    windows = RULE.windows(state((200, 300), Click(5, 150)))
    assert windows == (Window(0, 134, 32, 166), Window(0, 118, 64, 182), Window(0, 0, 200, 300))


def test_scales_that_come_to_the_same_window_are_tried_once() -> None:
    assert RULE.windows(state((20, 20), Click(5, 5))) == (Window(0, 0, 20, 20),)


def test_later_windows_follow_mask_and_positive_clicks() -> None:
    zoom = Window(0, 0, 200, 200)
    later = state((200, 200), Click(50, 50), Click(99, 59), mask=Window(40, 40, 60, 60), zoom=zoom)
    (window,) = RULE.windows(later)
    assert window.contains(99, 59)
    assert window.contains(40, 40)
    assert window.height == 90
    assert window.width == 54  # at least 0.6 of the longer side


def test_a_window_that_still_fits_is_kept() -> None:
    zoom = Window(35, 35, 65, 65)
    assert RULE.windows(state((200, 200), Click(50, 50), mask=Window(41, 40, 60, 60), zoom=zoom)) == (zoom,)


def test_outside_the_window_the_mask_before_stays() -> None:
    zoom = Window(0, 0, 50, 50)
    before = state((100, 100), Click(10, 10), mask=Window(80, 80, 90, 90), zoom=zoom)
    answer = np.zeros((100, 100), np.float32)
    answer[5:15, 5:15] = 0.9
    merged = RULE.merge(before, answer, zoom)
    assert merged[85, 85] == 1.0
    assert merged[10, 10] == np.float32(0.9)


def test_inside_the_window_shares_decide() -> None:
    class Half:
        def share(self, state: State, answer: object, window: Window) -> np.ndarray:
            return np.full(window.shape, 0.5, np.float32)

    rule = ScaleSearch((32,), 1.5, 24, 0.7, 0.5, merging=Half())
    zoom = Window(0, 0, 50, 50)
    mask = Window(5, 5, 15, 15)
    answer = np.zeros((100, 100), np.float32)
    second = state((100, 100), Click(10, 10), Click(12, 12), mask=mask, zoom=zoom)
    assert rule.merge(second, answer, zoom)[10, 10] == 0.5
    first = state((100, 100), Click(10, 10), mask=mask, zoom=zoom)  # a box or an earlier object's mask
    assert rule.merge(first, answer, zoom)[10, 10] == 0


def test_large_objects_are_shown_finely_from_the_sixth_click_on_and_all_later_ones_mirrored() -> None:
    rule = ScaleSearch((32,), 1.5, 24, 0.7, 0.5, widen=(1.5,), fine=192, usual=128, flip=True)
    mask, zoom = Window(100, 100, 300, 300), Window(50, 50, 350, 350)
    clicks = tuple(Click(150 + 10 * i, 150) for i in range(6))
    fifth, sixth = (state((400, 400), *clicks[:n], mask=mask, zoom=zoom) for n in (5, 6))
    assert len(rule.windows(fifth)) == 2
    assert rule.look(fifth, zoom, USUAL) == Look((128, 128), True)
    assert rule.windows(sixth) == (zoom,)
    assert rule.look(sixth, zoom, USUAL) == Look((192, 192), True)
    small, near = Window(100, 100, 140, 140), Window(90, 90, 150, 150)
    sixth = state((400, 400), *(Click(110 + i, 110) for i in range(6)), mask=small, zoom=near)
    assert len(rule.windows(sixth)) == 2
    assert rule.look(sixth, near, USUAL) == Look((128, 128), True)
    first = state((400, 400), Click(110, 110))
    assert rule.look(first, rule.windows(first)[0], USUAL) == USUAL
    assert replace(rule, coarse=96).look(first, zoom, USUAL) == Look((96, 96), USUAL.flip)
    assert replace(rule, coarse=96).look(fifth, zoom, USUAL) == Look((128, 128), True)


def test_the_first_click_takes_the_stable_answer_later_ones_the_mean() -> None:
    answers = np.stack([np.full((8, 8), 0.6), np.full((8, 8), 0.9)]).astype(np.float32)
    scores = np.array([0.9, 0.8], np.float32)
    assert RULE.weights(state((50, 50), Click(5, 5)), answers, scores).tolist() == [0, 1]
    learnt = replace(RULE, stability=False)
    assert learnt.weights(state((50, 50), Click(5, 5)), answers, scores).tolist() == [1, 0]
    later = state((50, 50), Click(5, 5), mask=Window(0, 0, 9, 9), zoom=Window(0, 0, 24, 24))
    weights = RULE.weights(later, answers, scores)
    assert weights.argmax() == 0
    assert np.ptp(weights) < 0.02


def test_windows_are_averaged_where_they_overlap() -> None:
    answers = torch.stack([torch.full((4, 4), 1.0), torch.full((4, 4), 0.5)])
    windows = [Window(2, 2, 6, 6), Window(0, 0, 8, 8)]
    mean = mean_of_windows(answers, windows, np.ones(2, np.float32), (10, 10), PublishedGrid())
    assert mean[3, 3] == np.float32(0.75)
    assert mean[0, 0] == np.float32(0.5)
    assert mean[9, 9] == 0


def test_wider_windows_go_with_the_later_ones() -> None:
    rule = ScaleSearch((32,), 1.5, 24, 0.7, 0.5, widen=(1.5, 100.0))
    zoom = Window(35, 35, 65, 65)
    windows = rule.windows(state((200, 200), Click(50, 50), mask=Window(41, 40, 60, 60), zoom=zoom))
    assert windows[0] == zoom
    assert windows[1].shape == (45, 45)
    assert windows[2] == Window(0, 0, 200, 200)


def test_what_the_first_click_has_found_is_looked_at_once_more_in_the_windows_of_the_next_one() -> None:
    rule = ScaleSearch((32, 64, 512), 1.5, 24, 0.7, 0.5, widen=(1.4,), twice=True)
    first, mask = state((200, 200), Click(50, 50)), Window(48, 40, 80, 72)
    answer = np.zeros((200, 200), np.float32)
    answer[mask.slices] = 0.9
    again = rule.again(first, answer)
    later = state((200, 200), Click(50, 50), Click(60, 60), mask=mask, zoom=Window(0, 0, 10, 10))
    assert again == rule.windows(later) == (Window(40, 32, 88, 80), Window(30, 22, 97, 89))
    assert rule.again(later, answer) == ()
    assert rule.again(first, np.zeros_like(answer)) == ()
    assert RULE.again(first, answer) == ()


def test_squares_are_shown_coarsely_and_what_they_found_as_usual() -> None:
    shown: list[tuple[int, ...]] = []

    def network(image: torch.Tensor, prev_mask: torch.Tensor, clicks: torch.Tensor) -> torch.Tensor:
        shown.append((len(image), *image.shape[2:]))
        return bright_near_clicks(image, prev_mask, clicks)

    rows, cols = np.mgrid[:200, :200]
    image = np.where((rows - 90) ** 2 + (cols - 110) ** 2 < 20**2, 230, 20).astype(np.uint8)
    twice = {"search_widen": [1.4], "search_twice": True}
    inference = Inference(size=(64, 64), flip=False, grid="exact", window="scale-search", zoom_min_side=24)
    model = FakeModel(network, inference.with_options(search_sides=[32, 64, 512], search_coarse=32, **twice))
    predictor = Predictor(PlaneSource.wrap(image), model, context=None)  # type: ignore[arg-type]
    first = predictor.step(None, Click(90, 110))
    assert shown == [(3, 32, 32), (2, 64, 64)]
    assert (first.probability > 0.5)[88:92, 108:112].all()
    predictor.step(first, Click(100, 110))
    assert shown[2:] == [(2, 64, 64)]
