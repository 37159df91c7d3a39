"""Clicks and boxes with a network that encodes a picture once: a small SAM with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_iseg import backends
from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.embeddings import EmbeddingCache
from napari_iseg.backends.model import Model
from napari_iseg.errors import CancelledError, DeviceError, InputError
from napari_iseg.images import PlaneSource
from napari_iseg.interactive.predictor import Predictor
from napari_iseg.interactive.session import Session
from napari_iseg.interactive.state import State
from napari_iseg.prompts import Box, Click, Window

TINY = {
    "embed_dim": 32,
    "depth": 1,
    "num_heads": 2,
    "global_attn_indexes": [0],
    "img_size": 64,
    "prompt_dim": 32,
    "mlp_dim": 32,
    "iou_dim": 16,
}
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (48, 64, 3), np.uint8)


class Counting(Model):
    """Counts what the network is asked."""

    counts: dict[str, Any]

    def run(self, call, *inputs, **options):
        if call.__name__ == "encode":
            self.counts["encode"] += 1
        else:
            _, points, _, box, memory = inputs
            self.counts["decode"].append(
                (points.shape[1], box is not None, memory is not None, options["several"])
            )
        return super().run(call, *inputs, **options)


@pytest.fixture
def model() -> Counting:
    torch.manual_seed(3)
    card = ModelCard("tiny-sam", "sam", TINY, prompts=("click", "box"))
    made = Counting(card, backends.get_click("sam").build(TINY), device="cpu", precision="float32")
    made.counts = {"encode": 0, "decode": []}
    return made


def predictor(model: Model, image: np.ndarray = IMAGE, **options) -> Predictor:
    return Predictor(PlaneSource.wrap(image, rgb=True), model, **options)


def test_the_picture_is_encoded_once_and_prompts_are_asked_as_published(model: Counting) -> None:
    p = predictor(model)
    one = p.step(None, Click(10, 12))
    two = p.step(one, Click(30, 40, False))
    p.step(None, None, box=Box(5, 5, 20, 30))
    p.step(p.step(None, None, box=Box(5, 5, 20, 30)), Click(10, 12))
    assert model.counts["encode"] == 1
    assert model.counts["decode"] == [
        (1, False, False, True),  # a single click: the best of three
        (2, False, True, False),  # its logits fed back
        (0, True, False, False),
        (0, True, False, False),
        (1, True, True, False),
    ]
    assert two.zoom == Window(0, 0, 48, 64)
    assert two.memory is not None
    assert two.memory.shape == (1, 1, 16, 16)


def test_a_click_gets_what_segment_anything_answers(model: Counting) -> None:
    from segment_anything import SamPredictor
    from segment_anything.modeling import Sam

    net, mean, std = model.net, [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    theirs = SamPredictor(Sam(net.image_encoder, net.prompt_encoder, net.mask_decoder, mean, std).eval())
    theirs.set_image(IMAGE)
    logits, quality, low = theirs.predict(np.array([[12.0, 10.0]]), np.array([1]), return_logits=True)
    chosen = quality.argmax()
    p = predictor(model)
    state = p.step(None, Click(10, 12))
    assert np.allclose(state.probability, 1 / (1 + np.exp(-logits[chosen])), atol=1e-5)
    xy, signs, box = (
        np.array([[12.0, 10.0], [40.0, 30.0]]),
        np.array([1, 0]),
        np.array([5.0, 6.0, 50.0, 45.0]),
    )
    logits, _, _ = theirs.predict(
        xy, signs, box, low[chosen : chosen + 1], multimask_output=False, return_logits=True
    )
    state = p.step(state, Click(30, 40, False), box=Box(6, 5, 45, 50))
    assert np.allclose(state.probability, 1 / (1 + np.exp(-logits[0])), atol=1e-5)


def test_states_are_immutable_and_replay_gives_the_same_bits(model: Counting) -> None:
    one = predictor(model).step(None, None, box=Box(5, 5, 20, 30))
    assert one.memory is not None
    with pytest.raises(ValueError, match="read-only"):
        one.memory[...] = 0
    before = one.memory.copy()
    two = predictor(model).step(one, Click(10, 12))
    assert np.array_equal(one.memory, before)
    again = predictor(model).step(predictor(model).step(None, None, box=Box(5, 5, 20, 30)), Click(10, 12))
    assert again == two
    assert again != one
    assert State(one.area, one.scale, one.probability, one.zoom, one.clicks, one.box) != one


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ({"click": None}, "give a click or a box"),
        ({"click": None, "box": Box(60, 5, 70, 9)}, "outside the image of 48 x 64"),
        ({"click": Click(80, 3), "box": Box(1, 1, 9, 9)}, "outside the image"),
    ],
)
def test_prompts_that_cannot_be_used_are_refused(model: Counting, prompt: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        predictor(model).step(None, prompt.pop("click"), **prompt)
    assert model.counts["encode"] == 0


def test_a_box_partly_outside_is_answered_and_negative_clicks_alone_are_not_asked(model: Counting) -> None:
    state = predictor(model).step(None, None, box=Box(-5, -5, 20, 300))
    assert state.probability.shape == (48, 64)
    asked = len(model.counts["decode"])
    empty = predictor(model).step(None, Click(3, 3, False))
    assert not empty.probability.any()
    assert len(model.counts["decode"]) == asked


def test_a_network_that_answers_nan_is_named_with_what_to_do(model: Counting) -> None:
    next(model.net.parameters()).data.fill_(float("nan"))
    with pytest.raises(DeviceError, match=r"^The model 'tiny-sam' answered with NaN .* precision='float32'"):
        predictor(model).step(None, Click(10, 12))


def test_a_cancelled_prediction_stops(model: Counting) -> None:
    with pytest.raises(CancelledError):
        predictor(model).step(None, Click(3, 3), cancelled=lambda: True)


def test_on_a_large_plane_the_window_is_the_area_and_is_encoded_anew_only_when_it_grows(
    model: Counting,
) -> None:
    image = RNG.integers(0, 256, (300, 260, 3), np.uint8)
    p = predictor(model, image, context=64)
    one = p.step(None, None, box=Box(100, 100, 130, 120))
    assert one.area.height <= 70
    two = p.step(one, Click(110, 110))
    assert (two.area, model.counts["encode"]) == (one.area, 1)
    three = p.step(two, Click(250, 200))
    assert three.area != one.area
    assert model.counts["encode"] == 2
    assert model.counts["decode"][-1][2] == bool((two.probability > 0.5).any())  # its mask was fed back
    four = p.step(two, None, box=Box(90, 90, 290, 130))
    assert four.area.bottom >= 290


def test_windows_may_be_searched_and_follow_the_object(model: Counting) -> None:
    image = RNG.integers(0, 256, (200, 200, 3), np.uint8)
    model.inference = model.inference.with_options(
        window="scale-search", search_sides=[32, 64, 128], zoom_min_side=32, zoom_keep_iou=0.0
    )
    p = predictor(model, image)
    one = p.step(None, Click(100, 100))
    assert model.counts["encode"] == 3
    assert one.zoom in [Window(84, 84, 116, 116), Window(68, 68, 132, 132), Window(36, 36, 164, 164)]
    p.step(one, Click(101, 102))
    assert model.counts["encode"] <= 4
    boxed = p.step(None, None, box=Box(20, 30, 60, 70))
    assert boxed.zoom is not None
    assert boxed.zoom.contains(20, 30)
    assert boxed.zoom.contains(59, 69)
    assert boxed.zoom.height < 80


def test_embeddings_are_found_by_content_in_other_sessions_and_on_disk(
    model: Counting, tmp_path: Path
) -> None:
    model.keep_embeddings(memory=1, folder=tmp_path)
    first = predictor(model).step(None, Click(10, 12))
    predictor(model, IMAGE.copy()).step(None, Click(3, 3))  # the same picture in another array
    assert model.counts["encode"] == 1
    assert len(list(tmp_path.glob("*.cached.npz"))) == 1
    torch.manual_seed(3)
    other = Counting(model.card, backends.get_click("sam").build(TINY), device="cpu", precision="float32")
    other.counts = {"encode": 0, "decode": []}
    other.keep_embeddings(folder=tmp_path)
    assert predictor(other).step(None, Click(10, 12)) == first
    assert other.counts["encode"] == 0
    with torch.no_grad():
        next(other.net.parameters()).add_(1.0)
    other.keep_embeddings(folder=tmp_path)
    predictor(other).step(None, Click(3, 3))  # in memory still
    other.embeddings = EmbeddingCache()
    other.keep_embeddings(folder=tmp_path)
    predictor(other).step(None, Click(3, 3))  # other weights: what is on disk is of no use
    assert other.counts["encode"] == 1
    assert len(list(tmp_path.glob("*.cached.npz"))) == 2
    other.keep_embeddings(folder=tmp_path, limit=1)
    assert other.embeddings.disk.limit == 1


def test_a_disk_that_cannot_be_written_ends_no_click(model: Counting, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    model.keep_embeddings(folder=tmp_path / "file" / "embeddings")
    plane = predictor(model)
    plane.step(plane.step(None, Click(10, 12)), Click(3, 3))
    assert model.counts["encode"] == 1, "it is in memory"
    assert model.embeddings.disk is None


def test_a_session_s_box_is_recorded_undone_and_replayed(model: Counting, tmp_path: Path) -> None:
    with Session(IMAGE, model, journal=tmp_path / "s", rgb=True) as session:
        boxed = session.box((30, 40, 5, 6))  # corners in any order
        assert session.current_box == Box(5, 6, 30, 40)
        state = session.patch.probability.copy()
        clicked = session.click((10, 12))
        assert model.counts["decode"][-1] == (1, True, True, False)
        assert session.undo()
        assert np.array_equal(session.mask, boxed)
        assert session.redo()
        assert np.array_equal(session.mask, clicked)
        session.box((5, 6, 31, 40))  # edited: the click is answered anew
        assert model.counts["decode"][-1] == (1, True, True, False)
        session.undo()
        last = session.probability.copy()
    with Session.open(tmp_path / "s", IMAGE, model) as session:
        assert session.current_box == Box(5, 6, 30, 40)
        assert np.array_equal(session.probability, last)
        session.undo()
        assert np.array_equal(session.probability, state)
        session.remove_box()
        assert session.current_box is None
        assert not session.mask.any()
        session.undo()
        assert session.current_box == Box(5, 6, 30, 40)


@pytest.mark.parametrize(
    ("box", "sentence"),
    [
        ((5, 5, 5, 20), "has no area"),
        ((100, 100, 120, 120), "outside the image"),
        ((float("nan"), 0, 3, 3), "finite"),
        ((1, 2, 3), r"\(y0, x0, y1, x1\)"),
    ],
)
def test_bad_boxes_are_refused_in_a_sentence_and_change_nothing(
    model: Counting, box: tuple[float, ...], sentence: str
) -> None:
    session = Session(IMAGE, model, rgb=True)
    with pytest.raises(InputError, match=sentence):
        session.box(box)
    assert not session.can_undo
    with pytest.raises(InputError, match="no box"):
        session.remove_box()


def test_a_model_without_boxes_says_so_when_it_meets_one(model: Counting) -> None:
    session = Session(IMAGE, model, rgb=True)
    session.box((5, 6, 30, 40))
    card = ModelCard("clicks-only", "sam", TINY, prompts=("click",))
    session.model = Model(card, model.net, device="cpu")
    with pytest.raises(InputError, match="does not take boxes"):
        _ = session.mask
