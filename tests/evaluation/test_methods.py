"""Models and the random walker in the click loop."""

import numpy as np
import pytest

from napari_iseg.backends.base import ClickNet, Inference
from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.model import Model
from napari_iseg.evaluation.baselines import BACKGROUND, OBJECT, RandomWalker
from napari_iseg.evaluation.datasets import Dataset, Item
from napari_iseg.evaluation.methods import ModelMethod
from napari_iseg.evaluation.protocol import evaluate


def scene(shape=(48, 64), at=(10, 12), side=20):
    labels = np.zeros(shape, np.int32)
    labels[at[0] : at[0] + side, at[1] : at[1] + side] = 1
    noise = np.random.default_rng(0).normal(0, 6, shape)
    return (60 + 120 * labels + noise).clip(0, 255).astype(np.uint8), labels


def one_image(image, labels):
    return Dataset("one", (Item("x", "instances", lambda: image, lambda: labels),))


class BrightNet(ClickNet):
    """Object where it is bright; answers only once there is a positive click."""

    def forward(self, image, prev_mask, clicks):
        first = clicks[:, : clicks.shape[1] // 2, :2].amax((1, 2)) >= 0
        return 40 * (image.mean(1, keepdim=True) - 0.45) - 100 * (~first).float()[:, None, None, None]


@pytest.fixture
def model():
    return Model(
        ModelCard("bright", "cfr-icl", "vit-b", inference={"size": [64, 64]}), BrightNet(), device="cpu"
    )


def test_model_is_evaluated_on_the_whole_image(model):
    image, labels = scene()
    report = evaluate(model, one_image(image, labels), max_clicks=3)
    assert report.method == "bright"
    assert report.objects[0].ious[0] > 0.9
    assert report.objects[0].area == 400
    assert report.objects[0].relative_side == pytest.approx(20 / np.sqrt(48 * 64))


def test_a_network_of_a_backend_of_ones_own_is_evaluated():
    card = ModelCard("mine", "my-backend", "x", inference={"size": [64, 64]})
    model = Model(card, BrightNet(), device="cpu", inference=Inference(size=(64, 64), flip=False))
    report = evaluate(model, one_image(*scene()), max_clicks=2)
    assert report.objects[0].ious[0] > 0.9
    assert report.method == "mine (flip = false)"
    assert report.run["inference"]["size"] == [64, 64]


def test_large_image_is_not_cut_to_a_context(model):
    image, labels = scene((1200, 1100), (30, 900), 150)
    method = ModelMethod(model)
    method.start(image)
    probability = method.click(100, 970, True)
    assert probability.shape == image.shape
    assert np.count_nonzero((probability > method.threshold) & (labels == 1)) > 0.8 * 150**2


def test_next_object_on_the_same_image_starts_empty(model):
    image, _ = scene()
    method = ModelMethod(model)
    method.start(image)
    first = method.click(20, 20, True)
    method.start(image)
    np.testing.assert_array_equal(method.click(20, 20, True), first)


@pytest.mark.parametrize("shape", [(40, 50, 3), (40, 50, 4), (40, 50, 2), (40, 50, 7)])
def test_bands_of_any_number_are_taken(model, shape):
    method = ModelMethod(model)
    method.start(np.random.default_rng(0).integers(0, 4000, shape).astype(np.uint16))
    assert method.click(5, 5, True).shape == (40, 50)


def test_random_walker_finds_a_clear_object():
    image, labels = scene()
    report = evaluate(RandomWalker(), one_image(image, labels), max_clicks=2)
    assert report.objects[0].ious[0] > 0.95


def test_border_is_background_until_the_first_background_click():
    image, _ = scene()
    walker = RandomWalker()
    walker.start(image)
    walker.click(20, 22, True)
    seeds = walker.seeds()
    assert (seeds[0] == BACKGROUND).all()
    assert (seeds[:, -1] == BACKGROUND).all()
    assert np.count_nonzero(seeds == OBJECT) == 81  # a disk of radius 5
    walker.click(40, 50, False)
    seeds = walker.seeds()
    assert not seeds[0].any()
    assert np.count_nonzero(seeds == BACKGROUND) == 81


def test_disk_at_the_corner_is_cut_and_only_negative_clicks_give_nothing():
    image, _ = scene()
    walker = RandomWalker()
    walker.start(image)
    assert not walker.click(0, 0, False).any()
    assert walker.seeds()[0, 0] == BACKGROUND
    assert walker.seeds()[4, 4] == 0


def test_random_walker_reads_colour():
    labels = scene()[1]
    image = np.where(labels[..., None] > 0, (200, 40, 40), (40, 200, 40)).astype(np.uint8)
    report = evaluate(RandomWalker(), one_image(image, labels), max_clicks=1)
    assert report.objects[0].ious[0] > 0.95
