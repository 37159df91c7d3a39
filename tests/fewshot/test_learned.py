"""The learned model behind the protocol: invariances that hold for any weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from few_shot_scenes import TINY, blobs, tiny_model

from napari_iseg import backends
from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.model import Model
from napari_iseg.errors import InputError
from napari_iseg.fewshot.answers import agreement, certainty
from napari_iseg.fewshot.base import UNKNOWN, Support
from napari_iseg.fewshot.learned import LearnedModel
from napari_iseg.fewshot.models import load_fewshot
from napari_iseg.images import PlaneSource
from napari_iseg.interactive.predictor import Predictor
from napari_iseg.prompts import Click
from napari_iseg.training.export import export
from napari_iseg.training.recipe import Recipe


@pytest.fixture(scope="module")
def model() -> LearnedModel:
    return tiny_model(eager=0.0)


def support(shift: int, position: tuple[float, ...] = (), version: int = 0) -> Support:
    image, labels = blobs(shift, second=True)
    return Support(f"s{shift}", image, labels, (), position, True, version, bool(position))


def test_the_answer_depends_neither_on_the_other_images_nor_on_their_order(model: LearnedModel) -> None:
    one = support(0)
    embedded = [model.embed(one, model.encode(one.image), [1, 2])]
    features = [model.encode(blobs(shift)[0]) for shift in (6, 12, 18)]
    together = model.predict(features, [()] * 3, embedded, [1, 2])
    turned = model.predict(features[::-1], [()] * 3, embedded, [1, 2])[::-1]
    alone = [model.predict([f], [()], embedded, [1, 2])[0] for f in features]
    for a, b, c in zip(together, turned, alone, strict=True):
        assert np.array_equal(a.probability, b.probability)
        assert np.array_equal(a.probability, c.probability)
        assert a.trust == c.trust


def test_probabilities_sum_to_one_and_trust_is_a_share(model: LearnedModel) -> None:
    supports = [support(0, (0.0,)), support(8, (10.0,))]
    embedded = [model.embed(s, model.encode(s.image), [1, 2]) for s in supports]
    answer = model.predict([model.encode(blobs(4)[0])], [(4.0,)], embedded, [1, 2])[0]
    assert answer.probability.shape == (3, 96, 96)
    assert np.allclose(answer.probability.sum(0), 1, atol=1e-5)
    assert 0 <= answer.trust <= 1
    assert answer.presence.shape == (2,)


def test_a_label_no_support_has_is_not_predicted(model: LearnedModel) -> None:
    image, labels = blobs(0)
    one = Support("a", image, labels)
    answer = model.predict(
        [model.encode(blobs(5)[0])], [()], [model.embed(one, model.encode(image), [1, 9])], [1, 9]
    )
    assert (answer[0].probability[2] < 1e-6).all()
    assert answer[0].presence[1] == 0


def test_embeddings_are_small_and_know_their_version(model: LearnedModel) -> None:
    one = support(0, version=7)
    embedded = model.embed(one, model.encode(one.image), [1, 2])
    assert embedded.version == 7
    assert embedded.reliability == 1
    assert sum(label.nbytes for label in embedded.labels) < 200_000


def test_more_clicks_make_a_support_more_reliable(model: LearnedModel) -> None:
    image, _ = blobs(0)
    clicks = [(1, Click(35, 34)), (1, Click(30, 30)), (1, Click(80, 80, False)), (1, Click(5, 5, False))]
    nothing = np.full((96, 96), UNKNOWN, np.int32)
    found = []
    for count in (1, 2, 3):
        one = Support("c", image, nothing, tuple(clicks[:count]))
        found.append(model.embed(one, model.encode(image), [1]).reliability)
    assert 0 < found[0] < found[2] <= 1


def test_identity_tells_weights_and_settings_apart(model: LearnedModel) -> None:
    same = tiny_model(eager=0.0)
    assert model.identity == same.identity
    assert model.identity != tiny_model(eager=0.4).identity
    with_other_weights = tiny_model(eager=0.0)
    with_other_weights.net.gate.bias.data += 1
    assert LearnedModel(_rewrapped(with_other_weights), eager=0.0).identity != model.identity


def test_a_support_path_of_its_own_is_asked_click_by_click_as_a_click_model_is() -> None:
    torch.manual_seed(0)
    sizes = {**TINY, "fusion": "both"}
    card = ModelCard("own", "ifsenet", sizes, inference={"size": [128, 128], "grid": "exact", "flip": False})
    asked = Model(card, backends.build("ifsenet", sizes), device="cpu")
    model = LearnedModel(asked, eager=0.0)
    image, _ = blobs(0)
    unknown = np.full((96, 96), UNKNOWN, np.int32)
    clicks = (Click(35, 34), Click(5, 5, False), Click(40, 30))
    one = Support("c", image, unknown, tuple((1, click) for click in clicks))
    found = model.segment_support(one, model.encode(image), [1]).probability[1]
    predictor, state = Predictor(PlaneSource.wrap(image, rgb=True), asked, context=None), None
    for click in clicks:
        state = predictor.step(state, click)
    assert state is not None
    places = np.indices((96, 96))
    away = np.min([np.hypot(places[0] - c.row, places[1] - c.col) for c in clicks], 0) > 4
    np.testing.assert_allclose(found[away], state.probability[away].clip(1e-4, 1 - 1e-4), atol=1e-3)
    other = LearnedModel(asked.with_inference(size=(64, 64)), eager=0.0)
    assert other.identity != model.identity


def test_pictures_are_encoded_in_the_model_s_precision() -> None:
    torch.manual_seed(0)
    net, card = backends.build("ifsenet", TINY), ModelCard("tiny", "ifsenet", TINY)
    exact, half = (
        LearnedModel(Model(card, net, device="cpu", precision=precision))
        for precision in ("float32", "bfloat16")
    )
    image, _ = blobs(0)
    a, b = exact.encode(image).m.float(), half.encode(image).m.float()
    assert 0 < float((a - b).abs().max()) < 0.1 * float(a.std())
    assert exact.encoding != half.encoding  # files of one are no files of the other


def _rewrapped(model: LearnedModel):  # type: ignore[no-untyped-def]
    return Model(ModelCard("tiny", "ifsenet", TINY), model.net, device="cpu")


def test_position_is_used_between_whole_planes_only(model: LearnedModel) -> None:
    """The interpolated prior changes the answer, and no prior is made of tiles."""
    features = model.encode(blobs(4)[0])
    answers = []
    for whole in (True, False):
        image, labels = blobs(0)
        one = Support("p", image, labels, (), (0.0,), True, 0, whole)
        embedded = model.embed(one, model.encode(image), [1])
        assert (embedded.outlines is not None) == whole
        answers.append(model.predict([features], [(1.0,)], [embedded], [1])[0].probability)
    assert not np.array_equal(*answers)


def test_a_neighbours_answer_replaces_the_interpolation(model: LearnedModel) -> None:
    one = support(0, (0.0,))
    embedded = [model.embed(one, model.encode(one.image), [1])]
    features = model.encode(blobs(4)[0])
    flat = np.stack([np.ones((96, 96)), np.zeros((96, 96))]).astype(np.float32)
    given = model.predict([features], [(1.0,)], embedded, [1], [flat])[0]
    own = model.predict([features], [(1.0,)], embedded, [1])[0]
    assert not np.array_equal(given.probability, own.probability)


def test_features_of_another_size_are_refused(model: LearnedModel) -> None:
    one = support(0)
    with pytest.raises(InputError, match="s0"):
        model.embed(one, model.encode(one.image[:64]), [1])


def test_no_positive_click_is_one_sentence(model: LearnedModel) -> None:
    image, _ = blobs(0)
    one = Support("n", image, np.full((96, 96), UNKNOWN, np.int32), ((1, Click(3, 3, False)),))
    embedded = [model.embed(one, model.encode(image), [1])]
    with pytest.raises(InputError, match="positive click"):
        model.predict([model.encode(blobs(3)[0])], [()], embedded, [1])


def test_an_exported_network_is_loaded_by_its_folder_and_parts_can_be_left_out(tmp_path: Path) -> None:
    """From training to use: what `train` writes is what `load_fewshot` reads."""
    made = tiny_model()
    recipe = Recipe(name="tiny", backend="ifsenet", variant=TINY)
    export(recipe, made.net.state_dict(), tmp_path / "tiny", {"steps": 1})
    folder = str(tmp_path / "tiny")
    loaded, ablated = (
        load_fewshot(name, device="cpu") for name in (folder, f"{folder}:no-prior:no-position")
    )
    assert loaded.identity != ablated.identity
    one = support(0, (0.0,))
    answers = []
    for model in (loaded, ablated):
        embedded = [model.embed(one, model.encode(one.image), [1])]  # type: ignore[union-attr]
        answers.append(model.predict([model.encode(blobs(4)[0])], [(2.0,)], embedded, [1])[0])  # type: ignore[union-attr]
    assert not np.array_equal(answers[0].probability, answers[1].probability)
    with pytest.raises(InputError, match="no part 'tokens'"):
        load_fewshot(f"{folder}:no-tokens", device="cpu")


def test_a_sure_answer_is_trusted_more_than_a_vague_one() -> None:
    mask = np.zeros((20, 20), np.float32)
    mask[5:12, 5:12] = 1
    sure, vague = 0.96 * mask, 0.25 + 0.3 * mask
    for opinion in (certainty, agreement):
        high, low = (opinion(np.stack([1 - p, p])) for p in (sure, vague))
        assert 0 <= low < 0.7 < high <= 1
    assert agreement(np.stack([np.ones((4, 4), np.float32), np.zeros((4, 4), np.float32)])) == 0
