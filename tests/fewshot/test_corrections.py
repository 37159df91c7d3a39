"""A click on a predicted slice corrects that spot; it does not make the slice a mask with one object."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from run_fakes import GreyPredictor, blobs, sparse

from napari_iseg.fewshot.adapter import ModelPredictor
from napari_iseg.fewshot.base import Prediction, Support
from napari_iseg.fewshot.corrections import beside_painted, honest
from napari_iseg.fewshot.feature_cache import FeatureCache
from napari_iseg.fewshot.propagate import propagate
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Click, Window

UNKNOWN = np.full((24, 24), -1, np.int32)


def support(key: str, mask: np.ndarray, *clicks: tuple[int, Click]) -> Support:
    image = np.random.default_rng(len(key)).random((24, 24, 3), dtype=np.float32)
    return Support(key, image, mask.astype(np.int32), tuple(clicks), (1.0,))


def test_clicks_beside_painted_supports_are_small_pieces() -> None:
    painted = support("a", np.eye(24))
    clicked = support("bb", UNKNOWN, (2, Click(5, 6)), (1, Click(20, 20, False)))
    kept, first, second = beside_painted([clicked, painted])
    assert kept is painted
    assert (first.key, second.key) == ("bb#0", "bb#1")
    assert first.shape == (23, 23)
    assert set(np.unique(first.mask)) == {-1, 2}
    assert first.mask[5, 6] == 2
    assert set(np.unique(second.mask)) == {-1, 0}
    assert np.array_equal(second.image, clicked.image[1:, 1:])
    assert not second.clicks


def test_clicks_alone_or_paint_alone_stay_as_they_are() -> None:
    clicked = [support("bb", UNKNOWN, (2, Click(5, 6)))]
    painted = [support("a", np.eye(24))]
    assert beside_painted(clicked) == clicked
    assert beside_painted(painted) == painted


def test_an_answer_agrees_with_the_clicks_in_its_window() -> None:
    clicked = support("bb", UNKNOWN, (1, Click(10, 10)), (1, Click(1, 1)))
    flat = np.stack([np.full((8, 8), 0.9, np.float32), np.full((8, 8), 0.1, np.float32)])
    window, own = Window(26, 26, 34, 34), Window(20, 20, 44, 44)
    answer = honest(Prediction(flat, 0.7, np.ones(1, np.float32)), clicked, window, own, [1])
    assert answer.probability[1, 4, 4] == 1
    assert np.allclose(answer.probability[1, 0, 7], 0.1)
    assert np.allclose(answer.probability.sum(0), 1)


def test_a_click_on_a_predicted_slice_changes_that_spot_and_no_other_object(tmp_path: Path) -> None:
    volume, truth = blobs()
    clicks = {4: [(2, Click(2, 12)), (1, Click(17, 13, False))]}
    propagate(volume, sparse(truth, 0), tmp_path / "rest.zarr", GreyPredictor(), clicks=clicks)
    found = np.asarray(LabelStore.open(tmp_path / "rest.zarr").levels[0][...])
    assert found[4, 2, 12] == 2
    same = np.ones((24, 24), bool)
    same[:6, 8:17] = False
    assert np.array_equal(found[4][same], truth[4][same])
    assert np.array_equal(found[:4], truth[:4])


class GreyModel:
    """A FewShotModel of which it is counted what was encoded and embedded."""

    identity, divisor = "grey-model", 1

    def __init__(self) -> None:
        self.encoded = self.embedded = self.batches = 0

    def encode(self, image):  # type: ignore[no-untyped-def]
        self.encoded += 1
        return image.copy()

    def embed(self, support, features, labels):  # type: ignore[no-untyped-def]
        self.embedded += 1
        return support

    def predict(self, features, positions, embeddings, labels, previous=None):  # type: ignore[no-untyped-def]
        self.batches += 1
        fake = GreyPredictor()
        return [
            fake.predict_unit(image, place, embeddings, labels)
            for image, place in zip(features, positions, strict=True)
        ]


def test_a_model_encodes_and_embeds_once_and_predicts_in_batches(tmp_path: Path) -> None:
    volume, truth = blobs()  # slice 4 is slice 0 again, so four images differ
    model = GreyModel()
    propagate(volume, sparse(truth, 0, 2), tmp_path / "a.zarr", model, batch=8)  # type: ignore[arg-type]
    assert np.array_equal(np.asarray(LabelStore.open(tmp_path / "a.zarr").levels[0][...]), truth)
    assert (model.encoded, model.embedded, model.batches) == (4, 2, 1)


def test_the_cache_keeps_to_its_limit_and_knows_equal_pixels() -> None:
    model = GreyModel()
    images = [np.full((8, 8, 3), value, np.float32) for value in (0.1, 0.2, 0.3)]
    cache = FeatureCache(2 * images[0].nbytes)
    for image in (*images, images[2].copy(), images[0]):
        cache.get(model, image)
    assert model.encoded == 4, "the third is known, the first was dropped"
    assert cache.nbytes <= cache.limit
    assert ModelPredictor(model, cache).needs_image  # type: ignore[arg-type]
