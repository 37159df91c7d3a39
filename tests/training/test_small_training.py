"""Training of the network for small objects: games, samples, loss, a resumed run, export, validation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from napari_iseg.backends.small_model import SmallModel
from napari_iseg.errors import InputError
from napari_iseg.evaluation.datasets import open_dataset
from napari_iseg.evaluation.methods import as_source
from napari_iseg.interactive.predictor import Predictor
from napari_iseg.prompts import Click
from napari_iseg.training.bank import Bank, coarser, picture
from napari_iseg.training.export import export
from napari_iseg.training.fit import Trainer
from napari_iseg.training.recipe import DataRecipe, OptimRecipe, Recipe, ValidationRecipe
from napari_iseg.training.small_games import SmallBank, played
from napari_iseg.training.small_samples import (
    SmallSampleOptions,
    SmallSamples,
    drawn_elsewhere,
    sample_options,
)
from napari_iseg.training.small_task import SmallTask, next_clicks, outline_entropy, soft_jaccard
from napari_iseg.training.small_validation import SmallValidator
from napari_iseg.weights.store import load_click_model, load_model

RECIPE = Recipe(
    "small-made",
    backend="small",
    variant={"widths": (8, 16)},
    data=(DataRecipe("made"),),
    samples={"vary": 0.0},
    optim=OptimRecipe(steps=24, batch=4, rate=5e-3, warmup=1, average=0.5),
    validation=ValidationRecipe(every=100, objects=2, max_clicks=5),
    workers=1,
    keep_every=8,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def dots(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Bright blurred disks of 10 to 18 pixels and their labels."""
    rng = np.random.default_rng(seed)
    rows, cols = np.ogrid[:96, :96]
    image, labels = np.full((96, 96), 40.0), np.zeros((96, 96), np.uint16)
    for number, (row, col) in enumerate([(24, 24), (24, 70), (70, 24), (70, 70)], 1):
        away = np.hypot(rows - row, cols - col)
        radius = rng.uniform(5, 9)
        image += 150 / (1 + np.exp(away - radius))
        labels[away < radius] = number
    return np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8), labels


@pytest.fixture(scope="module")
def click_model():
    return load_click_model("cfr-icl-starter", precision="float32")


@pytest.fixture(scope="module")
def bank(click_model) -> SmallBank:
    made = SmallBank()
    pictures = [picture(*dots(seed)) for seed in range(2)]
    made.add("dots", pictures, 1.0)
    games = [game for one in pictures for game in played(click_model, one, 4, np.random.default_rng(0))]
    made.games.append(games)
    return made


def test_games_show_the_object_whole_with_its_clicks_in_place(bank) -> None:
    games = bank.games[0]
    assert len(games) == 8
    for game in games:
        assert game.image.shape == (64, 64, 3)
        assert game.answers.shape == (3, 64, 64)
        assert 70 < game.truth.sum() < 280
        first = game.clicks[0]
        assert first is not None
        assert first.positive
        assert game.truth[round(first.row), round(first.col)]
        common = (game.answers[-1] > 0.5) & game.truth
        assert common.sum() > 0.5 * game.truth.sum()  # mask and truth lie at the same place


def test_large_objects_are_not_played(click_model) -> None:
    image, _ = dots(0)
    large = picture(image, (np.indices((96, 96)).sum(0) < 90).astype(np.uint16))
    assert large is not None
    assert list(played(click_model, large, 4, np.random.default_rng(0))) == []


def test_pictures_are_played_made_coarser_too(click_model, monkeypatch) -> None:
    plain = Bank()
    plain.add("dots", [picture(*dots(0))], 1.0)
    monkeypatch.setattr("napari_iseg.training.small_games.load_bank", lambda *_: plain)
    sizes = []
    for coarse in (0.0, 1.0):
        made = SmallBank()
        made.fill(RECIPE, [], click_model, 4, coarse)
        sizes.append([int(game.truth.sum()) for game in made.games[0]])
    assert sizes[1][:4] == sizes[0]
    assert len(sizes[1]) > 4
    assert max(sizes[1][4:]) < max(sizes[0]) / 1.5


def test_a_coarser_picture_shows_the_same_at_the_same_place() -> None:
    whole = picture(*dots(0))
    assert whole is not None
    small = coarser(whole, 1.5)
    assert small is not None
    assert small.labels.shape == (64, 64)
    kept = whole.objects[np.isin(whole.objects[:, 0], small.objects[:, 0])]
    assert len(kept) >= 2
    assert small.objects[:, 1] == pytest.approx(kept[:, 1] / 2.25, rel=0.2)
    centres = [(one[:, 2:4] + one[:, 4:6]) / 2 for one in (kept, small.objects)]
    assert np.abs(centres[0] / 1.5 - centres[1]).max() <= 1


def test_samples_follow_from_their_index_and_clicks_are_right_about_the_truth(bank) -> None:
    samples = SmallSamples(bank, SmallSampleOptions(), 0, 50)
    for index in range(16):
        one = samples[index]
        assert one["image"].shape == (3, 64, 64)
        assert 0 <= one["before"].min() <= one["before"].max() <= 1
        half = len(one["clicks"]) // 2
        for at, (row, col, order) in enumerate(one["clicks"].tolist()):
            if order >= 0:
                assert bool(one["truth"][0, int(row), int(col)]) == (at < half)
        again = SmallSamples(bank, SmallSampleOptions(), 0, 50)[index]
        assert all(torch.equal(again[name], value) for name, value in one.items())


def test_an_outline_drawn_elsewhere_is_about_a_pixel_away(bank) -> None:
    truth = bank.games[0][0].truth
    areas = [drawn_elsewhere(truth, np.random.default_rng(seed)).sum() for seed in range(40)]
    assert min(areas) < truth.sum() < max(areas)
    assert 0.5 * truth.sum() < np.mean(areas) < 1.5 * truth.sum()


def test_wrong_options_are_refused() -> None:
    with pytest.raises(InputError, match="colour"):
        sample_options(replace(RECIPE, samples={"colour": 1}))
    with pytest.raises(InputError, match="per_picture"):
        sample_options(replace(RECIPE, samples={"per_picture": 0}))


def test_the_next_click_is_on_the_larger_error_and_on_no_pixel_clicked_before() -> None:
    truth = torch.zeros(1, 1, 64, 64)
    truth[..., 20:31, 20:31] = 1
    none, clicks = torch.zeros(1, 1, 64, 64), torch.full((1, 8, 3), -1.0)
    first = next_clicks(none, truth, clicks, lambda n: 0)
    assert first[0, 0].tolist() == [25, 25, 1]  # the deepest
    assert first[0, 1:].max() == -1
    again = next_clicks(none, truth, first, lambda n: 0)[0, 1]
    assert again.tolist() != [25, 25, 2]
    near = next_clicks(none, truth, clicks, lambda n: n - 1)[0, 0]
    assert max(abs(near[0] - 25), abs(near[1] - 25)) == 2  # any that is 0.6 as deep
    taken = next_clicks(torch.ones(1, 1, 64, 64), truth, clicks, lambda n: 0)
    assert taken[0, 4, 2] == 1
    assert torch.equal(next_clicks(truth, truth, clicks, lambda n: 0), clicks)


def test_losses_of_a_right_and_a_wrong_answer() -> None:
    truth = torch.zeros(1, 1, 64, 64)
    truth[..., 20:30, 20:30] = 1
    right = truth * 40 - 20
    for loss in (outline_entropy, soft_jaccard):
        assert float(loss(right, truth)) == pytest.approx(0, abs=1e-3)
        assert float(loss(-right, truth)) > 0.9


def test_loss_falls_and_a_killed_run_ends_as_one_that_was_not(bank, tmp_path) -> None:
    terms: list[float] = []
    recipe = replace(RECIPE, optim=replace(RECIPE.optim, steps=32))
    whole = Trainer(recipe, bank, tmp_path / "whole").run(lambda p: terms.append(p.terms["jaccard"]))
    assert np.mean(terms[-8:]) < np.mean(terms[:8])

    class KilledError(Exception):
        pass

    def kill(progress) -> None:
        if progress.step == 13:
            raise KilledError

    with pytest.raises(KilledError):
        Trainer(recipe, bank, tmp_path / "killed").run(kill)
    resumed = Trainer(recipe, bank, tmp_path / "killed").run()
    for key, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key


def test_validation_plays_held_out_pictures_and_exported_weights_help(tmp_path, click_model) -> None:
    for kind in ("images", "labels"):
        (tmp_path / "set" / kind).mkdir(parents=True)
    for index in range(2):
        image, labels = dots(10 + index)
        Image.fromarray(image).save(tmp_path / "set" / "images" / f"{index}.png")
        Image.fromarray(labels).save(tmp_path / "set" / "labels" / f"{index}.png")
    data = open_dataset(tmp_path / "set")
    net = SmallTask().build(RECIPE)
    scores = SmallValidator(RECIPE, [data], "cfr-icl-starter")(net, 0)
    assert scores["score"] == scores["noc85_set"]
    assert 1 <= scores["score"] <= 5
    card = export(RECIPE, net.state_dict(), tmp_path / "small-made", {})
    assert card.prompts == ()
    loaded = load_model(tmp_path / "small-made", device="cpu")
    assert isinstance(loaded, SmallModel)
    asked = []
    helped = click_model.with_inference(small="made")
    helped.helpers["made"] = loaded
    answer = loaded.probability
    loaded.probability = lambda *given: asked.append(given) or answer(*given)  # type: ignore[method-assign]
    predictor, state = Predictor(as_source(dots(10)[0]), helped), None
    for click in (Click(24, 24), Click(24, 40, False), Click(28, 24), Click(35, 35, False)):
        assert not asked
        state = predictor.step(state, click)
    assert len(asked) == 1
