"""AdaptiveClick through the trainer: matching, terms, what switching one off does, what it learns."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_iseg import backends
from napari_iseg.errors import InputError
from napari_iseg.nn.adaptiveclick_decoder import Prediction
from napari_iseg.training.adaptiveclick_loss import AdaptiveClickTask, query_losses
from napari_iseg.training.adaptiveclick_targets import (
    Targets,
    match,
    matching_costs,
    object_targets,
    published_targets,
)
from napari_iseg.training.bank import Bank, picture
from napari_iseg.training.fit import Trainer
from napari_iseg.training.recipe import LossRecipe, OptimRecipe, Recipe, read_recipe
from napari_iseg.training.synthetic import random_scene
from napari_iseg.training.task import Step

STARTER = {"trunk": "conv", "widths": [16, 16, 16, 32], "depths": [1, 1, 1, 1], "sweeps": 2}
STARTER |= {"decoder_dim": 32, "feedforward_dim": 32, "encoder_layers": 1, "decoder_layers": 2, "queries": 4}
VIT = {
    "img_size": 32,
    "patch_size": 8,
    "embed_dim": 16,
    "depth": 4,
    "num_heads": 2,
    "neck_dims": [8, 8, 8, 8],
}
VIT |= {"decoder_dim": 32, "feedforward_dim": 32, "encoder_layers": 1, "decoder_layers": 1, "queries": 3}
PUBLISHED = {"adaptive_focal", "dice", "class"}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def bank() -> Bank:
    made = Bank()
    made.add("scenes", [picture(*random_scene(np.random.default_rng(i), 96)) for i in range(3)], 1.0)
    return made


def disk_batch(side: int = 32, batch: int = 2) -> dict[str, torch.Tensor]:
    """Bright disks on a dark ground, one click in each."""
    rows, cols = torch.arange(side)[:, None], torch.arange(side)
    truth = (((rows - 12) ** 2 + (cols - 18) ** 2) <= 49).float().expand(batch, 1, -1, -1).contiguous()
    clicks = torch.full((batch, 4, 3), -1.0)
    clicks[:, 0] = torch.tensor([12.0, 18.0, 0.0])
    image = (0.2 + 0.6 * truth).expand(-1, 3, -1, -1).contiguous()
    return {"image": image, "truth": truth, "clicks": clicks, "full_area": truth.sum((1, 2, 3))}


def objective(net, recipe: LossRecipe, batch=None, forwards: int = 1):
    draw = np.random.default_rng(0)
    whole = Recipe("disks", loss=recipe)
    step = Step(net, batch or disk_batch(), whole, draw, lambda n: int(draw.integers(n)))
    return AdaptiveClickTask().objective(step, forwards, 0)


def test_each_query_gets_the_target_that_it_shows() -> None:
    left, right = torch.full((2, 4, 4), -4.0)
    left[:, :2], right[:, 2:] = 4.0, 4.0
    masks = torch.stack([right, torch.zeros(4, 4), left]).flatten(1)[None]
    targets = Targets(torch.tensor([1, 1]), (torch.stack([left, right]) > 0).float().flatten(1))
    queries, chosen = match(torch.zeros(1, 3, 2), masks, targets)
    assert dict(zip(queries[0].tolist(), chosen[0].tolist(), strict=True)) == {0: 1, 2: 0}


def test_costs_and_combined_masks_are_the_same_under_autocast() -> None:
    torch.manual_seed(0)
    classes, masks = torch.randn(1, 6, 2), 5 * torch.randn(1, 6, 8, 8)
    targets = Targets(torch.tensor([1]), (torch.rand(1, 64) > 0.5).float())
    answers = []
    for half in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            costs = matching_costs(classes, masks.flatten(2), targets)
            answers.append((costs.focal, costs.dice, Prediction(classes, masks).combined((8, 8))))
    assert all(torch.equal(a, b) for a, b in zip(*answers, strict=True))


def test_an_image_without_a_target_still_teaches_the_classes() -> None:
    classes, masks = torch.zeros(1, 3, 2, requires_grad=True), torch.zeros(1, 3, 4, 4, requires_grad=True)
    losses = query_losses([Prediction(classes, masks)], object_targets(torch.zeros(1, 1, 16, 16), (4, 4)))
    sum(loss.sum() for loss in losses.values()).backward()
    assert (losses["adaptive_focal"].item(), losses["dice"].item()) == (0, 0)
    assert (classes.grad[..., 0] < 0).all()  # all should say "no object"
    assert masks.grad is None or not masks.grad.any()


def test_the_published_targets_copy_the_background_and_ours_do_not() -> None:
    truth = torch.zeros(1, 1, 16, 16)
    truth[..., 3:10, 5:9] = 1
    published = published_targets(truth, (8, 8))[0]
    assert published.labels.tolist().count(0) >= 1
    ours = object_targets(truth, (8, 8))[0]
    assert ours.labels.tolist() == [1]
    assert ours.masks.sum() >= published.masks[-1].sum()
    thin = torch.zeros(1, 1, 16, 16)
    thin[..., 5, 5] = 1  # a quarter of a reduced pixel
    assert object_targets(thin, (8, 8))[0].masks.sum() == 1
    assert published_targets(torch.ones(1, 1, 16, 16), (8, 8))[0].labels.tolist() == []


@pytest.mark.parametrize("variant", [STARTER, VIT], ids=["starter", "vit"])
@pytest.mark.parametrize("published", [False, True])
def test_every_weight_but_the_unused_learns_from_the_published_terms(variant, published) -> None:
    torch.manual_seed(0)
    net = backends.build("adaptiveclick", variant).train()
    result = objective(net, LossRecipe(icl=False, published=published, quality=1.0))
    result.total.backward()
    assert set(result.terms) == PUBLISHED | ({"quality"} if variant is STARTER else set())
    assert [key for key, value in net.named_parameters() if value.grad is None] == []


def test_switching_a_term_off_takes_just_it_out_of_the_total() -> None:
    torch.manual_seed(0)
    net = backends.build("adaptiveclick", VIT).eval()
    weights = {"adaptive_focal": 2.0, "dice": 1.5, "class": 0.6, "answer": 0.5}
    whole = objective(net, LossRecipe(icl=False, terms={"answer": 0.5}))
    for name, weight in weights.items():
        part = objective(net, LossRecipe(icl=False, terms={"answer": 0.5, name: 0.0}))
        assert set(part.terms) == set(whole.terms) - {name}
        assert whole.total.item() - part.total.item() == pytest.approx(weight * whole.terms[name], rel=1e-4)
    with pytest.raises(
        InputError, match="unknown term 'focal'; valid are adaptive_focal, dice, class, answer"
    ):
        objective(net, LossRecipe(terms={"focal": 0.0}))


def test_several_forwards_are_weighed_like_icl() -> None:
    torch.manual_seed(0)
    net = backends.build("adaptiveclick", VIT).eval()
    assert objective(net, LossRecipe(icl=True), forwards=3).weight == 6
    assert objective(net, LossRecipe(icl=False), forwards=3).weight == 1


def test_training_windows_that_do_not_fit_are_refused() -> None:
    net = backends.build("adaptiveclick", STARTER)
    with pytest.raises(InputError, match="multiple of 16"):
        objective(net, LossRecipe(), batch=disk_batch(side=40))


def test_each_published_term_falls_on_one_object() -> None:
    torch.manual_seed(0)
    net = backends.build("adaptiveclick", STARTER).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    recipe = LossRecipe(icl=False, quality=0.0, terms={"answer": 1.0})
    seen = []
    for _ in range(25):
        result = objective(net, recipe)
        seen.append(result.terms)
        optimizer.zero_grad()
        result.total.backward()
        optimizer.step()
    for name in (*PUBLISHED, "answer"):
        assert seen[-1][name] < 0.8 * seen[0][name], name
    batch = disk_batch()
    with torch.no_grad():
        mask = net.eval()(batch["image"], torch.zeros_like(batch["truth"]), batch["clicks"]) > 0
    common = (mask & (batch["truth"] > 0)).sum()
    assert common / (mask | (batch["truth"] > 0)).sum() > 0.8


@pytest.mark.parametrize("variant", [STARTER, VIT], ids=["starter", "vit"])
def test_the_trainer_runs_it_and_logs_its_terms(bank: Bank, tmp_path: Path, variant) -> None:
    from napari_iseg.training.log import Log

    recipe = Recipe(
        "tiny",
        backend="adaptiveclick",
        variant=variant,
        workers=1,
        keep_every=2,
        samples={"size": 32},
        optim=OptimRecipe(steps=2, batch=2, rate=1e-3, warmup=1),
        loss=LossRecipe(icl=False, max_forwards=2, free_share=0.0, terms={"answer": 1.0}),
    )
    log = Log(tmp_path / "log.csv", 0)
    trained = Trainer(recipe, bank, tmp_path).run(log.add)
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    assert {f"loss_{name}" for name in (*PUBLISHED, "answer")} <= set(rows[0])
    assert all(float(row["loss_adaptive_focal"]) > 0 for row in rows)
    resumed = Trainer(replace(recipe, optim=replace(recipe.optim, steps=3)), bank, tmp_path).run()
    key = "click_aware_decoder.query_feat.weight"
    assert not torch.equal(trained.state_dict()[key], resumed.state_dict()[key])


def test_the_recipe_starts_from_the_other_starter_and_has_the_starter_s_terms() -> None:
    recipe = read_recipe(Path(__file__).parents[2] / "recipes" / "adaptiveclick-starter.toml")
    recipe.loss.weights({"adaptive_focal": 2.0, "dice": 1.5, "class": 0.6, "answer": 0.0, "quality": 0.0})
    net = AdaptiveClickTask().build(recipe)
    from napari_iseg.weights.store import load_model

    trunk = load_model(recipe.start, device="cpu").net.state_dict()
    own = net.state_dict()
    assert all(torch.equal(own[key], value) for key, value in trunk.items())
    assert set(own) - set(trunk)


RECIPE = """
name = "tiny"
backend = "adaptiveclick"
workers = 1
variant = { trunk = "conv", widths = [16, 16, 16, 32], depths = [1, 1, 1, 1], sweeps = 2, decoder_dim = 32 }
samples = { size = 32 }
optim = { steps = 2, batch = 2, warmup = 1 }
validation = { every = 2, objects = 1, max_clicks = 2, share = 0.25 }
scenes = { count = 2, size = 96 }
loss = { icl = false, terms = { answer = 1.0, class = 0.0 } }
inference = { window = "scale-search", size = [32, 32], flip = false, search_sides = [32, 64] }

[[data]]
path = "made"
kind = "instances"
"""


def test_a_run_from_the_command_line_ends_in_a_model_that_answers_clicks(tmp_path: Path) -> None:
    from skimage.io import imsave

    from napari_iseg import Session, load_model
    from napari_iseg.cli import main
    from napari_iseg.training.log import read_log

    for name in ("images", "labels"):
        (tmp_path / "made" / name).mkdir(parents=True)
    for i, word in enumerate(("oak", "elm", "ash", "fir", "yew", "box")):
        image, labels = random_scene(np.random.default_rng(i), 80)
        imsave(tmp_path / "made" / "images" / f"{word}.png", image, check_contrast=False)
        imsave(tmp_path / "made" / "labels" / f"{word}.png", labels.astype(np.uint16), check_contrast=False)
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE)
    out = tmp_path / "run"
    main(["train", str(recipe), "--data", str(tmp_path), "--out", str(out)])
    assert "loss_class" not in read_log(out / "log.csv")[0]  # switched off
    model = load_model(str(out / "tiny"), device="cpu")
    assert model.card.backend == "adaptiveclick"
    session = Session(np.zeros((40, 50), np.uint8), model)
    mask = session.click((20, 20))
    assert mask.shape == (40, 50)
    assert np.isfinite(session.probability).all()
