"""Training of the network for thin structures: samples, loss, a resumed run, export, validation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_iseg.backends.thin_model import ThinModel
from napari_iseg.errors import InputError
from napari_iseg.evaluation.datasets import open_dataset
from napari_iseg.training.export import export
from napari_iseg.training.fit import Trainer
from napari_iseg.training.recipe import DataRecipe, OptimRecipe, Recipe, SceneRecipe, ValidationRecipe
from napari_iseg.training.synthetic import random_scene
from napari_iseg.training.synthetic_thin import OUTLINES
from napari_iseg.training.task import Step
from napari_iseg.training.thin_samples import ThinBank, ThinSampleOptions, ThinSamples, sample_options
from napari_iseg.training.thin_task import ThinTask, answers
from napari_iseg.training.thin_validation import ThinValidator
from napari_iseg.weights.store import load_model

RECIPE = Recipe(
    "thin-made",
    backend="thin",
    variant={"widths": (8, 8, 16, 16), "dim": 4},
    data=(DataRecipe("made"),),
    samples={"size": 64, "vary": 0.0},
    scenes=SceneRecipe(count=6, size=96, weight=1.0, kind="thin"),
    optim=OptimRecipe(steps=24, batch=4, rate=5e-3, warmup=1, average=0.5),
    validation=ValidationRecipe(every=100, objects=2, max_clicks=3),
    workers=1,
    keep_every=8,
)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def bank() -> ThinBank:
    made = ThinBank()
    made.add_scenes(RECIPE.scenes, 0)
    return made


def test_samples_follow_from_their_index_and_show_a_class_with_a_click_on_it(bank) -> None:
    samples = ThinSamples(bank, ThinSampleOptions(size=64), 0, 50)
    for index in range(12):
        one = samples[index]
        assert one["image"].shape == (3, 64, 64)
        assert 0 <= one["image"].min() <= one["image"].max() <= 1
        row, col = one["click"].long().tolist()
        assert one["truth"][0, row, col] == 1
        assert 12 <= one["truth"].sum() <= 0.9 * 64 * 64
        again = ThinSamples(bank, ThinSampleOptions(size=64), 0, 50)[index]
        assert all(torch.equal(again[name], value) for name, value in one.items())
    assert not torch.equal(samples[0]["image"], samples[1]["image"])


def test_wrong_options_are_refused() -> None:
    with pytest.raises(InputError, match="colour"):
        sample_options(replace(RECIPE, samples={"colour": 1}))
    with pytest.raises(InputError, match="multiple of 16"):
        sample_options(replace(RECIPE, samples={"size": 100}))
    with pytest.raises(InputError, match="nearest"):
        sample_options(replace(RECIPE, samples={"nearest": 2.0, "farthest": 1.0}))


def test_answers_need_only_the_clicks_up_to_their_count() -> None:
    net = ThinTask().build(RECIPE).eval()
    features = net(torch.rand(1, 3, 32, 32)).detach()
    clicks = torch.full((1, 6, 3), -1.0)
    clicks[0, 0] = torch.tensor([4.0, 5.0, 0.0])
    clicks[0, 3] = torch.tensor([20.0, 25.0, 1.0])
    both = answers(net, features, clicks, (1, 2))
    assert both.shape == (1, 2, 32, 32)
    clicks[0, 3] = -1
    assert torch.allclose(answers(net, features, clicks, (1,))[:, 0], both[:, 0], atol=1e-4)


def test_loss_falls_and_a_killed_run_ends_as_one_that_was_not(bank, tmp_path) -> None:
    steps: list[float] = []
    whole = Trainer(RECIPE, bank, tmp_path / "whole").run(lambda progress: steps.append(progress.loss))
    assert np.mean(steps[-6:]) < 0.9 * np.mean(steps[:3])

    class KilledError(Exception):
        pass

    def kill(progress) -> None:
        if progress.step == 13:
            raise KilledError

    with pytest.raises(KilledError):
        Trainer(RECIPE, bank, tmp_path / "killed").run(kill)
    resumed = Trainer(RECIPE, bank, tmp_path / "killed").run()
    for key, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key


def test_terms_are_named_and_weighed(bank) -> None:
    task = ThinTask()
    net = task.build(RECIPE).train()
    samples = task.samples(RECIPE, bank, 8)
    batch = torch.utils.data.default_collate([samples[0], samples[1]])

    def loss(recipe: Recipe):
        torch.manual_seed(0)
        rng = np.random.default_rng(1)
        return task.loss(Step(net, batch, recipe, np.random.default_rng(0), lambda n: int(rng.integers(n))))

    terms = loss(RECIPE)
    assert set(terms.terms) == {"cross_entropy", "dice"}
    halved = loss(replace(RECIPE, loss=replace(RECIPE.loss, terms={"dice": 0.0})))
    assert float(halved.total.detach()) == pytest.approx(terms.terms["cross_entropy"], rel=1e-4)


def test_validation_clicks_on_held_out_pictures_and_exported_weights_answer(tmp_path) -> None:
    from PIL import Image

    for kind in ("images", "labels"):
        (tmp_path / "set" / kind).mkdir(parents=True)
    for index in range(3):
        image, labels = random_scene(np.random.default_rng(index), 96, OUTLINES)
        Image.fromarray(image).save(tmp_path / "set" / "images" / f"{index}.png")
        Image.fromarray((labels > 0).astype(np.uint8)).save(tmp_path / "set" / "labels" / f"{index}.png")
    data = open_dataset(tmp_path / "set")
    net = ThinTask().build(RECIPE)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    scores = ThinValidator(RECIPE, [data])(net, 0)
    assert scores["score"] == pytest.approx(1 - scores["iou_set"])
    assert 0 <= scores["iou_set"] <= 1
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    card = export(RECIPE, net.state_dict(), tmp_path / "thin-made", {})
    assert card.prompts == ()  # a click model hands them on
    loaded = load_model(tmp_path / "thin-made", device="cpu")
    assert isinstance(loaded, ThinModel)
