"""Small objects from the fourth click on: who is asked, and where the answer goes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_iseg.interactive.area import grown
from napari_iseg.interactive.passes import run_pass
from napari_iseg.interactive.refine import run_passes
from napari_iseg.interactive.rules import window_rule
from napari_iseg.interactive.small import SmallPass, Tile
from napari_iseg.interactive.state import State
from napari_iseg.prompts import Box, Click, Window
from napari_iseg.weights.store import load_click_model

SHAPE = (90, 100)
ON = Click(30, 40)
CLICKS = (ON, Click(24, 34, False), Click(31, 45), Click(36, 40, False))


class FakeSmall:
    """Answers with the mask before, turned over at the newest click."""

    tile = 64

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[int, ...], list[Click]]] = []
        self.begun: list[np.ndarray] = []

    def probability(self, image, begun, before, clicks):
        self.asked.append((tuple(image.shape), list(clicks)))
        self.begun.append(begun)
        found = before.copy()
        found[round(clicks[-1].row), round(clicks[-1].col)] = float(clicks[-1].positive)
        return found


@pytest.fixture(scope="module")
def model():
    return load_click_model("cfr-icl-starter", precision="float32")


def a_state(radius: float = 8, clicks=CLICKS, **changes) -> State:
    rows, cols = np.ogrid[: SHAPE[0], : SHAPE[1]]
    disk = np.hypot(rows - 30, cols - 40) <= radius
    zoom = Window(18, 28, 43, 53)
    whole = Window.of_shape(SHAPE)
    return replace(State(whole, 1, disk.astype(np.float32), zoom, tuple(clicks)), **changes)


def asked(model, state: State) -> tuple[State, FakeSmall, list[State]]:
    small, others = FakeSmall(), []

    def ask(model, rule, image, state):
        others.append(state)
        return run_pass(model, rule, image, state)

    rule = window_rule(model.inference)
    after = SmallPass(lambda: small, ask)(model, rule, torch.rand(3, *SHAPE), state)  # type: ignore[arg-type]
    return after, small, others


def test_the_fourth_click_on_a_small_object_is_its(model) -> None:
    state = a_state()
    after, small, others = asked(model, state)
    assert not others
    (shape, clicks) = small.asked[0]
    assert shape == (3, 64, 64)
    assert len(clicks) == 4
    assert [c.positive for c in clicks] == [c.positive for c in CLICKS]
    changed = np.argwhere(after.probability != state.probability)
    assert changed.tolist() == [[36, 40]]  # of the whole image, though the tile begins beyond its edge
    assert after.clicks == state.clicks
    assert after.zoom is not None


@pytest.mark.parametrize(
    "state",
    [
        a_state(clicks=CLICKS[:3]),
        a_state(radius=25),
        a_state(zoom=None),
        a_state(thin=1),
        a_state(box=Box(20, 30, 40, 50)),
        a_state(radius=-1),
        a_state(clicks=(*CLICKS[:3], Click(85, 95, False))),
    ],
    ids=["third click", "large", "no window", "thin", "box", "nothing", "click elsewhere"],
)
def test_anything_else_is_the_click_networks(model, state) -> None:
    _, small, others = asked(model, state)
    assert not small.asked
    assert others == [state]


@pytest.mark.parametrize("tile", [Tile(-10, -20, 64), Tile(60, 70, 64), Tile(5, 6, 64)])
def test_a_tile_is_cut_and_pasted_where_it_lies(tile) -> None:
    array = np.arange(90 * 100, dtype=np.float32).reshape(SHAPE)
    cut = tile.cut(array, "edge")
    assert cut.shape == (64, 64)
    assert np.array_equal(tile.pasted(cut, array), array)
    covered = tile.pasted(np.ones((64, 64)), np.zeros(SHAPE)) > 0
    assert np.array_equal(tile.pasted(cut, np.full(SHAPE, -1.0)) >= 0, covered)
    rows, cols = np.nonzero(covered)
    assert (rows.min(), cols.min()) == (max(0, tile.top), max(0, tile.left))


def test_clicks_outside_the_tile_are_not_its_own() -> None:
    assert Tile(-10, -20, 64).own((Click(0, 0), Click(60, 60))) == [Click(10, 20)]


def test_what_the_click_network_found_last_is_shown_until_it_answers_again(model) -> None:
    state = a_state()
    first, small, _ = asked(model, state)
    assert np.array_equal(first.begun, state.probability)
    more = replace(first, clicks=(*first.clicks, Click(37, 41, False)))
    second, small, _ = asked(model, more)
    tile = Tile.around(Window(18, 28, 43, 53), 64)
    assert np.array_equal(small.begun[0], tile.cut(state.probability, "constant"))
    assert np.array_equal(second.begun, state.probability)
    far = replace(second, clicks=(*second.clicks, Click(85, 95, False)))
    third, _, others = asked(model, far)
    assert others == [far]
    assert third.begun is None


def test_states_differ_by_what_the_network_is_shown_and_it_does_not_outlive_its_area() -> None:
    state = a_state(begun=np.zeros(SHAPE, np.float32))
    assert state == a_state(begun=np.zeros(SHAPE, np.float32))
    assert state != a_state(begun=np.ones(SHAPE, np.float32))
    assert state != a_state()
    assert state.nbytes == 2 * a_state().nbytes
    inside = replace(state, area=Window(0, 0, *SHAPE))
    larger = grown(inside, Click(150, 150), (400, 400), 64, 0.5)
    assert larger.area != inside.area
    assert larger.begun is None


def test_refinement_asks_it_once_a_click(model) -> None:
    refined = model.with_inference(refine_steps=3, refine_clicks=None)
    small = FakeSmall()
    ask = SmallPass(lambda: small)  # type: ignore[arg-type]
    run_passes(refined, window_rule(model.inference), torch.rand(3, *SHAPE), a_state(), lambda: False, ask)
    assert len(small.asked) == 1
