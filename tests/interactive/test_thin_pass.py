"""The rule that stands in for the click network on thin structures: when it is asked, believed and left."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from click_fakes import FakeModel

from napari_iseg.backends import thin_model as thin_model_module
from napari_iseg.backends.base import Inference
from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.thin import Thin
from napari_iseg.backends.thin_model import ThinModel
from napari_iseg.errors import InputError
from napari_iseg.images import PlaneSource
from napari_iseg.interactive.area import grown
from napari_iseg.interactive.predictor import Predictor
from napari_iseg.interactive.refine import run_passes
from napari_iseg.interactive.state import State
from napari_iseg.interactive.thin import (
    ThinGate,
    ThinPass,
    connected,
    slenderness,
    under_object_clicks,
)
from napari_iseg.interactive.zoom import WholeArea
from napari_iseg.prompts import Box, Click, Window

SIDE = 120
AREA = Window(0, 0, SIDE, SIDE)
ON, OFF = Click(10, 5), Click(40, 30, False)  # on the tree, beside it


def tree() -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[9:11] = True
    mask[:, 59:61] = True
    mask[80:82, 60:] = True
    return mask


@dataclass
class FakeThin:
    """Answers a fixed mask, whatever the clicks; counts how often it looks."""

    mask: np.ndarray
    looks: list[int] = field(default_factory=list)
    threshold: float = 0.5

    def look(self, image: torch.Tensor) -> str:
        self.looks.append(image.shape[-1])
        return "seen"

    def probability(self, seen: str, clicks: tuple[Click, ...]) -> np.ndarray:
        assert seen == "seen"
        return np.where(self.mask, np.float32(0.9), np.float32(0.1))

    def foreseen(self, seen: str, clicks: tuple[Click, ...]) -> list[bool]:
        return [bool(self.mask[round(c.row), round(c.col)]) == c.positive for c in clicks[1:]]


def blob(image: torch.Tensor, prev_mask: torch.Tensor, clicks: torch.Tensor) -> torch.Tensor:
    """The network's answer: a square in the upper left quarter."""
    logits = torch.full((len(image), 1, *image.shape[-2:]), -5.0)
    logits[..., : image.shape[-2] // 2, : image.shape[-1] // 2] = 5
    return logits


def network() -> FakeModel:
    return FakeModel(blob, Inference(size=(64, 64), window="whole", flip=False))


def run(thin: FakeThin, *clicks: Click, model: FakeModel | None = None, start: State | None = None) -> State:
    one = ThinPass(lambda: thin, ThinGate(slender=20))  # type: ignore[arg-type,return-value]
    state = start or State(AREA, 1, np.zeros((SIDE, SIDE), np.float32))
    for click in clicks:
        state = State(
            AREA, 1, state.probability, state.zoom, (*state.clicks, click), state.box, None, state.thin
        )
        state = one(model or network(), WholeArea(), torch.zeros(3, SIDE, SIDE), state)  # type: ignore[arg-type]
    return state


def test_the_network_answers_the_first_click_and_the_rule_is_not_asked() -> None:
    thin = FakeThin(tree())
    state = run(thin, ON)
    assert state.thin == 0
    assert (state.probability[:60, :60] > 0.5).all()
    assert thin.looks == []


def test_a_foreseen_correction_on_a_tree_of_strokes_gives_the_rule_the_word() -> None:
    thin, model = FakeThin(tree()), network()
    state = run(thin, ON, OFF, model=model)
    assert state.thin == 1
    assert np.array_equal(state.probability > 0.5, tree())
    assert model.forwards == 2
    after = run(thin, Click(100, 60), start=state, model=model)
    assert after.thin == 2
    assert model.forwards == 2  # while the rule is believed, the network is not asked
    assert thin.looks == [SIDE, SIDE]  # once per pass object


@pytest.mark.parametrize(
    ("mask", "clicks"),
    [
        (tree(), (ON, Click(40, 20, True), OFF)),  # the last click is a surprise to the rule
        (np.pad(np.ones((50, 50), bool), 35), (Click(50, 50), Click(10, 10, False))),  # no strokes
        (np.zeros((SIDE, SIDE), bool), (ON, OFF)),  # nothing
    ],
)
def test_the_network_keeps_the_word_otherwise(mask: np.ndarray, clicks: tuple[Click, ...]) -> None:
    state = run(FakeThin(mask), *clicks)
    assert state.thin == 0
    assert (state.probability > 0.5)[:60, :60].all()


@pytest.mark.parametrize(("count", "word"), [(5, 1), (6, 0)])
def test_after_some_clicks_the_rule_is_no_longer_asked_to_take_over(count: int, word: int) -> None:
    thin = FakeThin(np.zeros((SIDE, SIDE), bool))
    state = run(thin, ON, *[OFF] * (count - 2))
    assert state.thin == 0
    thin.mask = tree()
    assert run(thin, OFF, start=state).thin == word


def test_the_rule_loses_the_word_when_what_it_marks_is_no_longer_thin() -> None:
    thin = FakeThin(tree())
    state = run(thin, ON, OFF)
    thin.mask = np.ones((SIDE, SIDE), bool)
    after = run(thin, Click(100, 100, False), start=state)
    assert after.thin == 0
    assert (after.probability > 0.5)[:60, :60].all()


def test_a_box_is_the_networks() -> None:
    thin = FakeThin(tree())
    start = State(AREA, 1, np.zeros((SIDE, SIDE), np.float32), box=Box(0, 0, 50, 50))
    assert run(thin, ON, OFF, start=start).thin == 0
    assert thin.looks == []


def test_later_answers_are_averaged_but_the_clicks_part_is_the_newest() -> None:
    thin = FakeThin(tree())
    state = run(thin, ON, OFF)
    grown = tree()
    grown[100:102, 60:] = True  # around the click
    grown[30:32, :60] = True  # elsewhere
    thin.mask = grown
    after = run(thin, Click(100, 100), start=state)
    mask = after.probability > 0.5
    assert after.probability[101, 90] == pytest.approx(0.9)
    assert after.probability[31, 10] == pytest.approx(0.3)
    assert mask[100, 90:112].all()  # a tenth of the side around the click
    assert not mask[100, 62:74].any()  # and nothing two tenths away
    assert np.array_equal(mask[:98], tree()[:98])


def test_a_late_click_changes_less_of_a_tree() -> None:
    thin = FakeThin(tree())
    state = run(thin, ON, OFF)
    for _ in range(5):
        state = run(thin, ON, start=state)
    grown = tree()
    grown[100:102, 60:] = True
    thin.mask = grown
    after = run(thin, Click(100, 100), start=state)
    # The eighth click: three eighths of a tenth of the side, 4.5 pixels, and as many to fade over.
    assert after.probability[101, 96:99] == pytest.approx(0.9)
    assert after.probability[101, 102:105] == pytest.approx(0.9)
    assert 0.3 < after.probability[100, 107] < 0.8
    assert after.probability[100, 110] == after.probability[100, 70] < 0.2


def test_a_tree_goes_on_where_the_area_grows() -> None:
    half = Window(0, 0, SIDE, SIDE // 2)
    before = State(half, 1, tree()[:, : SIDE // 2].astype(np.float32), None, (ON, OFF), thin=3)
    state = grown(before, Click(100, 70), (SIDE, SIDE), SIDE, 0.5)
    assert state.area == AREA
    assert state.thin == -1
    after = run(FakeThin(tree()), Click(10, 110), start=state)
    assert after.thin == 1
    assert (after.probability > 0.5)[9:11].all()  # far from the click too, where there was nothing before


def test_what_is_clicked_is_so_even_if_the_rule_does_not_hear() -> None:
    state = run(FakeThin(tree()), ON, OFF)
    after = run(FakeThin(tree()), Click(9, 30, False), Click(50, 90), start=state)
    assert not (after.probability > 0.5)[9, 30]
    assert (after.probability > 0.5)[50, 90]
    assert after.thin == 3


def test_more_passes_do_not_count_as_more_answers() -> None:
    model = network()
    model.inference = Inference(size=(64, 64), window="whole", flip=False, refine_steps=3, refine_clicks=None)
    thin = FakeThin(tree())
    one = ThinPass(lambda: thin, ThinGate(slender=20))  # type: ignore[arg-type,return-value]
    state = State(AREA, 1, np.zeros((SIDE, SIDE), np.float32), clicks=(ON, OFF))
    image = torch.zeros(3, SIDE, SIDE)
    after = run_passes(model, WholeArea(), image, state, lambda: False, one)  # type: ignore[arg-type]
    assert after.thin == 1
    assert model.forwards == 1


def test_only_what_hangs_together_with_an_object_click_is_taken() -> None:
    mask = np.zeros((20, 20), bool)
    mask[2, 2:8] = mask[3, 8] = True  # diagonal
    mask[15, 2:8] = True
    start = State(Window(0, 0, 20, 20), 1, np.zeros((20, 20), np.float32))
    clicks = (Click(1.4, 3), Click(15, 4, False))
    found = connected(mask, under_object_clicks(replace(start, clicks=clicks)))
    assert found[2, 2:8].all()
    assert found[3, 8]
    assert not found[15].any()
    assert not connected(mask, under_object_clicks(replace(start, clicks=(Click(10, 10),)))).any()


def test_slenderness_is_extent_by_width_of_strokes() -> None:
    line = np.zeros((200, 200), bool)
    line[50, 10:190] = True
    assert slenderness(line) == pytest.approx(90)  # a line of one pixel is all outline: width 2
    disk = np.hypot(*np.mgrid[-50:51, -50:51]) < 40
    assert slenderness(disk) < 5
    assert slenderness(np.zeros((5, 5), bool)) == 0
    assert 20 < slenderness(tree()) < ThinGate().slender


def made(side: int = 96) -> np.ndarray:
    """Dark strokes on a noisy picture."""
    image = np.random.default_rng(0).normal(150, 4, (side, side))
    image[tree()[:side, :side]] -= 90
    return image.clip(0, 255).astype(np.uint8)


def real_thin() -> ThinModel:
    torch.manual_seed(0)
    return ThinModel(ModelCard("thin", "thin", "starter"), Thin().build("starter"))


def test_model_sees_once_and_answers_at_the_pictures_own_size() -> None:
    model = real_thin()
    image = torch.from_numpy(np.repeat(made()[None], 3, 0).astype(np.float32) / 255)[:, :, :90]
    seen = model.look(image)
    clicks = (Click(10, 20), Click(40, 30, False), Click(70, 60))
    probability = model.probability(seen, clicks)
    assert probability.shape == (96, 90)
    assert probability.dtype == np.float32
    assert 0 <= probability.min() < probability.max() <= 1
    assert np.array_equal(probability, model.probability(model.look(image), clicks))
    foreseen = model.foreseen(seen, clicks)
    first = model.probability(seen, clicks[:1])
    assert foreseen[0] == (not first[40, 30] > 0.5)
    assert len(foreseen) == 2
    with pytest.raises(InputError, match="no click on the object"):
        model.probability(seen, [Click(1, 1, False)])


def test_strips_of_a_large_picture_are_seen_as_the_whole_is(monkeypatch: pytest.MonkeyPatch) -> None:
    model = real_thin()
    image = torch.rand(3, 1000, 90, generator=torch.Generator().manual_seed(0))
    whole = model.look(image)
    monkeypatch.setattr(thin_model_module, "_AT_ONCE", 500 * 90)
    looks: list[int] = []
    joined = model.net.joined
    monkeypatch.setattr(model.net, "joined", lambda x: looks.append(x.shape[-2]) or joined(x))
    strips = model.look(image)
    assert len(looks) > 4
    assert max(looks) <= 500
    assert strips.joined.shape == whole.joined.shape
    assert torch.allclose(strips.joined, whole.joined, atol=1e-4)


def test_the_features_of_all_pixels_are_made_when_the_rule_is_first_asked_for_them() -> None:
    model = real_thin()
    image = torch.rand(3, 61, 90, generator=torch.Generator().manual_seed(0))
    clicks = [Click(0, 0), Click(60, 89, False), Click(30, 40)]
    seen = model.look(image)
    model.foreseen(seen, clicks)
    assert seen.halves is None
    first = model.probability(seen, clicks)
    made = seen.halves
    assert made is not None
    np.testing.assert_array_equal(model.probability(seen, clicks), first)
    assert seen.halves is made


def test_replayed_clicks_give_the_same_states() -> None:
    def predictor() -> Predictor:
        model = network()
        model.inference = Inference(size=(64, 64), window="whole", flip=False, thin="made")
        model.helpers = {"made": real_thin()}
        model.device, model.precision = "cpu", "float32"
        return Predictor(PlaneSource.wrap(made()), model)  # type: ignore[arg-type]

    clicks = [Click(10, 20), Click(40, 30, False), Click(70, 60), Click(9, 80)]
    one, states = predictor(), []
    state = None
    for click in clicks:
        state = one.step(state, click)
        states.append(state)
    other, state = predictor(), None
    for click, expected in zip(clicks, states, strict=True):
        state = other.step(state, click)
        assert state == expected
    assert one.step(states[1], clicks[2]) == states[2]  # as undo and a new click do
