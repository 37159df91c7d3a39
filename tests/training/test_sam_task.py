"""Training of SAM-like networks: clicks and boxes, three meanings of a click, an IoU head."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from napari_iseg import Session, load_model
from napari_iseg.errors import InputError
from napari_iseg.evaluation.datasets import open_dataset
from napari_iseg.training.bank import Bank, picture
from napari_iseg.training.fit import Trainer
from napari_iseg.training.log import Progress, read_log
from napari_iseg.training.recipe import LossRecipe, OptimRecipe, Recipe, read_recipe
from napari_iseg.training.run import train
from napari_iseg.training.sam_task import (
    SamTask,
    dice_loss,
    first_clicks,
    focal_loss,
    mask_terms,
    per_object,
    point_prompts,
    shaken_boxes,
)
from napari_iseg.training.synthetic import random_scene
from napari_iseg.training.task import Step, task_for

TINY = {
    "embed_dim": 32,
    "depth": 1,
    "num_heads": 2,
    "global_attn_indexes": [0],
    "img_size": 32,
    "patch_size": 8,
    "prompt_dim": 32,
    "mlp_dim": 32,
    "iou_dim": 16,
}
WEIGHTS = {"focal": 20.0, "dice": 1.0, "iou": 1.0}


@pytest.fixture(scope="module")
def bank() -> Bank:
    made = Bank()
    scenes = [picture(*random_scene(np.random.default_rng(i), 96)) for i in range(3)]
    made.add("scenes", scenes, 1.0)
    return made


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(
        "tiny-sam",
        backend="sam",
        variant=TINY,
        keep_every=4,
        workers=1,
        samples={"size": 32},
        optim=OptimRecipe(steps=8, batch=2, rate=1e-3, warmup=2),
        loss=LossRecipe(max_forwards=3),
    )


def batch_of(truth: np.ndarray) -> dict[str, torch.Tensor]:
    mask = torch.from_numpy(truth.astype(np.float32))[None, None]
    clicks = torch.full((1, 6, 3), -1.0)
    return {
        "image": torch.rand(1, 3, *truth.shape),
        "truth": mask,
        "clicks": clicks,
        "full_area": mask.sum((1, 2, 3)),
    }


def test_training_goes_on_exactly_where_it_was_killed_and_logs_its_terms(
    bank: Bank, recipe: Recipe, tmp_path: Path
) -> None:
    class Killed(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.step == 6:
            raise Killed

    seen: list[Progress] = []
    whole = Trainer(recipe, bank, tmp_path / "whole").run(seen.append)
    assert set(seen[0].terms) == {"focal", "dice", "iou"}
    with pytest.raises(Killed):
        Trainer(recipe, bank, tmp_path / "killed").run(stop)
    resumed = Trainer(recipe, bank, tmp_path / "killed").run()
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def test_a_few_steps_on_one_batch_lower_the_loss(bank: Bank, recipe: Recipe) -> None:
    task = task_for("sam")
    assert isinstance(task, SamTask)
    torch.manual_seed(0)
    net = task.build(recipe)
    samples = task.samples(recipe, bank, 4)
    batch = {key: torch.stack([samples[i][key] for i in range(4)]) for key in samples[0]}
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    losses = []
    for step in range(40):
        rng, drawn = np.random.default_rng(step % 4), np.random.default_rng(step % 4)
        terms = task.loss(Step(net, batch, recipe, rng, lambda n, drawn=drawn: int(drawn.integers(n))))
        optimizer.zero_grad()
        terms.total.backward()
        optimizer.step()
        losses.append(float(terms.total.detach()) / terms.weight)
    assert np.mean(losses[-4:]) < 0.6 * np.mean(losses[:4])
    assert all(p.grad is not None for p in net.image_encoder.parameters())


def test_only_the_best_of_three_masks_learns_its_shape_and_all_learn_their_worth() -> None:
    truth = np.zeros((8, 8))
    truth[2:6, 2:6] = 1
    batch = batch_of(truth)
    right = torch.where(batch["truth"] > 0, 4.0, -4.0)
    logits = torch.cat([-right, right, torch.zeros_like(right)], 1).requires_grad_()
    quality = torch.tensor([[0.5, 0.5, 0.5]], requires_grad=True)
    terms = mask_terms(logits, quality, batch, LossRecipe(), WEIGHTS)
    (terms["focal"] + terms["dice"] + terms["iou"]).backward()
    moved = logits.grad.abs().sum((2, 3))[0]
    assert moved[1] > 0
    assert moved[0] == moved[2] == 0
    assert float(terms["iou"].detach()) == pytest.approx(
        ((0.5 - 0) ** 2 + (0.5 - 1) ** 2 + (0.5 - 0) ** 2) / 3
    )
    assert (quality.grad != 0).all()


def test_an_object_cut_by_the_window_is_worth_less() -> None:
    batch = batch_of(np.ones((4, 4)))
    batch["full_area"] = torch.tensor([32.0])
    logits = torch.full((1, 1, 4, 4), 5.0)
    terms = mask_terms(logits, torch.tensor([[0.5]]), batch, LossRecipe(), WEIGHTS)
    assert terms["iou"] == pytest.approx(0.0)  # 16 of 32 pixels


def test_losses_leave_ignored_pixels_out() -> None:
    truth = torch.tensor([[[[1.0, 0.0, -1.0]]]])
    one, other = torch.tensor([[[[2.0, -2.0, 9.0]]]]), torch.tensor([[[[2.0, -2.0, -9.0]]]])
    assert focal_loss(one, truth, 0.5, 2.0) == focal_loss(other, truth, 0.5, 2.0)
    assert dice_loss(one, truth) == dice_loss(other, truth)
    sure = 1 / (1 + np.exp(-2.0))
    assert focal_loss(one, truth, 0.5, 2.0).item() == pytest.approx(-0.5 * (1 - sure) ** 2 * np.log(sure))


def test_prompts_of_a_batch() -> None:
    clicks = torch.full((2, 6, 3), -1.0)
    clicks[0, 0], clicks[1, 0] = torch.tensor([3.0, 7.0, 0.0]), torch.tensor([1.0, 2.0, 0.0])
    clicks[1, 3] = torch.tensor([5.0, 6.0, 1.0])
    points, labels = point_prompts(clicks)
    assert points.tolist() == [[[7.0, 3.0], [-1.0, -1.0]], [[2.0, 1.0], [6.0, 5.0]]]
    assert labels.tolist() == [[1.0, -1.0], [1.0, 0.0]]
    truth = np.zeros((32, 32))
    truth[10:20, 5:25] = 1
    batch = batch_of(truth)
    assert point_prompts(first_clicks(batch, lambda n: 0, wanted=False))[0].shape == (1, 0, 2)
    row, col, order = first_clicks(batch, lambda n: 0, wanted=True)[0, 0].tolist()
    assert truth[int(row), int(col)] == 1
    assert order >= 0
    boxes = torch.cat([shaken_boxes(batch["truth"], lambda n, i=i: i) for i in range(50)]).numpy()
    assert np.abs(boxes.mean(0) - (5, 10, 25, 20)).max() < 1
    assert 0.5 < boxes.std(0)[1] < 2
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_boxes_are_drawn_as_loosely_as_the_recipe_says() -> None:
    truth = torch.zeros(60, 1, 100, 100)
    truth[:, :, 20:80, 30:70] = 1
    exact = torch.tensor([30.0, 20.0, 70.0, 80.0])
    rng = np.random.default_rng(0)

    def draw(limit: int) -> int:
        return int(rng.integers(limit))

    assert (shaken_boxes(truth, draw, 0.0) == exact).all()
    spread = (shaken_boxes(truth, draw, 0.04) - exact).std(0) / torch.tensor([40.0, 60.0, 40.0, 60.0])
    assert ((spread > 0.02) & (spread < 0.06)).all()


def test_several_objects_of_a_window_are_asked_of_one_embedding(bank: Bank, recipe: Recipe) -> None:
    several = replace(recipe, samples={"size": 32, "objects": 3, "suem": 0.0})
    samples = SamTask().samples(several, bank, 40)
    drawn = [samples[i] for i in range(40)]
    assert all(sample["truth"].shape == (3, 32, 32) for sample in drawn)
    apart = [s["truth"] for s in drawn if not torch.equal(s["truth"][0], s["truth"][1])]
    assert apart  # the scenes hold more than one object
    for truth in apart:
        assert not (truth[0] * truth[1]).any()
        assert truth[1].sum() >= 24
        assert not truth[1, [0, -1]].any()
        assert not truth[1, :, [0, -1]].any()
    batch = {key: torch.stack([s[key] for s in drawn[:2]]) for key in drawn[0]}
    flat = per_object(batch)
    assert torch.equal(flat["truth"][4, 0], batch["truth"][1, 1])
    assert flat["full_area"][3] == batch["full_area"][1]
    assert flat["full_area"][4] == batch["truth"][1, 1].sum()
    assert (flat["clicks"][1] == -1).all()
    assert torch.equal(flat["clicks"][3], batch["clicks"][1])
    net, encoded = SamTask().build(several), []
    net.image_encoder.register_forward_hook(lambda *seen: encoded.append(len(seen[1][0])))
    terms = SamTask().loss(Step(net, batch, several, np.random.default_rng(0), lambda n: 0))
    assert encoded == [2]
    assert torch.isfinite(terms.total)


def test_a_wrong_number_of_objects_is_refused(bank: Bank, recipe: Recipe) -> None:
    for samples, sampling in (({"size": 32, "objects": 0}, "windows"), ({"objects": 2}, "cocolvis")):
        with pytest.raises(InputError, match="whole number, for sampling = 'windows'"):
            SamTask().samples(replace(recipe, samples=samples, sampling=sampling), bank, 4)


def test_an_object_that_augmentation_hid_is_no_trouble(recipe: Recipe) -> None:
    net = SamTask().build(recipe)
    batch = batch_of(np.zeros((32, 32)))
    for seed in range(6):
        terms = SamTask().loss(Step(net, batch, recipe, np.random.default_rng(seed), lambda n: 0))
        assert torch.isfinite(terms.total)


def test_validation_scores_clicks_and_boxes(recipe: Recipe, tmp_path: Path) -> None:
    labels = np.zeros((40, 40), np.uint16)
    labels[8:30, 8:30] = 1
    for part, pixels in (("images", (labels * 100).astype(np.uint8)), ("labels", labels)):
        (tmp_path / part).mkdir()
        Image.fromarray(pixels).save(tmp_path / part / "x.png")
    net = SamTask().build(recipe)
    validate = SamTask().validator(recipe, [open_dataset(tmp_path)])
    found = validate(net, 1)
    assert set(found) == {"score", "noc", "iou", "box_iou"}
    assert found["score"] == pytest.approx(found["noc"] / 10 + 1 - found["box_iou"])


def test_terms_that_do_not_exist_are_refused(bank: Bank, recipe: Recipe) -> None:
    wrong = Recipe("x", backend="sam", variant=TINY, loss=LossRecipe(terms={"edge": 1.0}))
    with pytest.raises(InputError, match="unknown term 'edge'"):
        SamTask().loss(Step(None, {}, wrong, np.random.default_rng(0), lambda n: 0))


RECIPE = """
name = "tiny-sam"
backend = "sam"
workers = 1

[variant]
embed_dim = 32
depth = 1
num_heads = 2
global_attn_indexes = [0]
img_size = 32
patch_size = 8
prompt_dim = 32
mlp_dim = 32
iou_dim = 16

[samples]
size = 32

[optim]
steps = 3
batch = 2
warmup = 1

[validation]
every = 2
objects = 2
max_clicks = 2
share = 0.25

[inference]
window = "scale-search"
size = [32, 32]
search_sides = [32, 64]

[[data]]
path = "made"
kind = "instances"
"""


def test_a_whole_run_ends_in_a_model_that_takes_boxes(tmp_path: Path) -> None:
    for name in ("images", "labels"):
        (tmp_path / "made" / name).mkdir(parents=True)
    for i in range(8):
        image, labels = random_scene(np.random.default_rng(i), 80)
        Image.fromarray(image).save(tmp_path / "made" / "images" / f"{'abcdefgh'[i]}.png")
        Image.fromarray(labels.astype(np.uint16)).save(tmp_path / "made" / "labels" / f"{'abcdefgh'[i]}.png")
    (tmp_path / "tiny.toml").write_text(RECIPE)
    card = train(read_recipe(tmp_path / "tiny.toml"), tmp_path / "run", tmp_path)
    assert set(card.prompts) == {"box", "click"}
    names, rows = read_log(tmp_path / "run" / "log.csv")
    assert {"loss_focal", "loss_dice", "loss_iou", "iou", "box_iou"} <= set(names)
    assert 0 <= float(rows[-1]["box_iou"]) <= 1
    assert (tmp_path / "run" / "curves.png").is_file()
    session = Session(image, load_model(tmp_path / "run" / "tiny-sam", device="cpu"), rgb=True)
    assert session.box((10, 10, 40, 50)).shape == (80, 80)


def test_the_starter_s_recipe_builds_its_network_and_is_small() -> None:
    recipe = read_recipe(Path(__file__).parents[2] / "recipes" / "sam-starter.toml")
    net = SamTask().build(recipe)
    assert 2 * sum(value.numel() for value in net.state_dict().values()) < 12e6
    assert recipe.samples["size"] == net.side
