"""Learning to choose among the squares of a first click."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from napari_iseg.errors import InputError
from napari_iseg.interactive.scale_search import ScaleSearch
from napari_iseg.interactive.window_grid import ExactGrid
from napari_iseg.training.bank import Bank, picture
from napari_iseg.training.click_task import ClickTask
from napari_iseg.training.first_click import FirstClickOptions, FirstClickSamples, first_click_loss
from napari_iseg.training.fit import keep_fixed
from napari_iseg.training.recipe import DataRecipe, LossRecipe, OptimRecipe, Recipe
from napari_iseg.training.task import task_for

RULE = ScaleSearch((32, 64, 480, 960), expand=1.5, min_side=24, keep_iou=0.7, threshold=0.5)
RECIPE = Recipe(
    "choosing",
    sampling="first-click",
    data=(DataRecipe("none"),),
    optim=OptimRecipe(only=("quality",)),
    inference={"window": "scale-search", "search_sides": [32, 64, 480, 960], "search_coarse": 64},
)


def bank(shape: tuple[int, int] = (120, 200)) -> Bank:
    """Two pictures: one disk, and a crowd of nine smaller ones, brighter than what is around them."""
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    one = ((rows - 60) ** 2 + (cols - 90) ** 2 < 30**2).astype(np.int32)
    crowd = np.zeros(shape, np.int32)
    for k in range(9):
        crowd[(rows - 20 - 20 * (k // 3)) ** 2 + (cols - 30 - 20 * (k % 3)) ** 2 < 49] = k + 1
    made = Bank()
    made.add("disks", [picture((50 + 150 * (x > 0)).astype(np.uint8), x) for x in (one, crowd)], 1.0)
    return made


def samples(options: FirstClickOptions, made: Bank | None = None) -> FirstClickSamples:
    return FirstClickSamples(made or bank(), options, 3, 40, rule=RULE, grid=ExactGrid(), size=64)


def test_a_whole_picture_gives_the_squares_that_the_viewer_would_try() -> None:
    item = samples(FirstClickOptions(whole=1, centred=1, crowds=0))[0]
    assert [tuple(value.shape) for value in item.values()] == [
        (4, 3, 64, 64),
        (4, 1, 64, 64),
        (4, 2, 3),
        (4,),
        (4,),
    ]
    # 480 is the whole picture of 120 x 200, 960 the same again
    assert item["tried"].tolist() == [True, True, True, False]
    for image, truth, clicks in zip(item["image"], item["truth"], item["clicks"], strict=True):
        row, col, order = clicks[0].tolist()
        assert order == 0
        assert clicks[1].tolist() == [-1, -1, -1]
        assert truth[0, round(row), round(col)] == 1
        assert (image[0][truth[0] > 0] > 0.45).all()  # the truth lies on what is bright
    by_square = item["full_area"] / torch.tensor([64**2 / 32**2, 1, 64**2 / (120 * 200), 64**2 / (120 * 200)])
    assert by_square.min() == pytest.approx(by_square.max().item())  # always all of the object


@pytest.mark.parametrize("index", range(8))
def test_scaled_and_varied_pictures_hold_the_clicked_object(index: int) -> None:
    item = samples(FirstClickOptions(whole=0, centred=0.5))[index]
    assert -1e-5 < item["image"].min() < item["image"].max() < 1 + 1e-5
    tried = item["tried"]
    assert tried[0]
    row, col, _ = item["clicks"][0, 0].round().long().tolist()
    assert item["truth"][0, 0, row, col] == 1
    assert (item["full_area"][tried][:-1] >= item["full_area"][tried][1:]).all()
    again = samples(FirstClickOptions(whole=0, centred=0.5))[index]
    assert all(torch.equal(item[name], again[name]) for name in item)


def test_crowded_pictures_are_drawn_more_often() -> None:
    rng, made = np.random.default_rng(0), bank()
    drawn = [len(made.draw(rng, 1.0).objects) for _ in range(400)]
    assert drawn.count(9) == pytest.approx(360, abs=30)
    drawn = [len(made.draw(rng).objects) for _ in range(400)]
    assert drawn.count(9) == pytest.approx(200, abs=50)


class Fixed(torch.nn.Module):
    """Answers with given logits and qualities."""

    def __init__(self, logits: torch.Tensor, quality: torch.Tensor) -> None:
        super().__init__()
        self.logits, self.quality = logits, torch.nn.Parameter(quality)

    def trained(self, image: torch.Tensor, mask: torch.Tensor, clicks: torch.Tensor) -> tuple:
        assert len(image) == len(mask) == len(clicks)
        return self.logits, self.quality


def test_the_loss_is_what_the_choice_loses_and_leaves_out_squares_not_tried() -> None:
    truth = torch.zeros(1, 3, 1, 8, 8)
    truth[:, :, :, :4] = 1
    right, wrong = truth[0, 0] * 20 - 10, 10 - truth[0, 0] * 20
    batch = {
        "image": torch.zeros(1, 3, 3, 8, 8),
        "truth": truth,
        "clicks": torch.zeros(1, 3, 2, 3),
        "full_area": torch.full((1, 3), 32.0),
        "tried": torch.tensor([[True, True, False]]),
    }
    net = Fixed(torch.stack([right, wrong, right]), torch.tensor([0.0, 0.0, 50.0]))
    made = first_click_loss(net, batch, LossRecipe())
    assert made.terms["choice"] == pytest.approx(0.5)
    assert made.terms["quality"] == pytest.approx(np.log(2))
    assert float(made.total.detach()) == pytest.approx(np.log(2) + 3 * 0.5)
    made.total.backward()
    assert net.quality.grad is not None
    assert net.quality.grad[0] < 0 < net.quality.grad[1]
    assert net.quality.grad[2] == 0
    better = Fixed(net.logits, torch.tensor([9.0, -9.0, 0.0]))
    assert first_click_loss(better, batch, LossRecipe()).terms["choice"] < 1e-6
    with pytest.raises(InputError, match="quality head"):
        first_click_loss(torch.nn.Identity(), batch, LossRecipe())


def test_only_the_head_learns_and_it_learns_to_choose() -> None:
    torch.manual_seed(0)
    task = task_for("cfr-icl")
    assert isinstance(task, ClickTask)
    net = task.build(RECIPE)
    keep_fixed(net, RECIPE.optim.only)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    drawn = task.samples(RECIPE, bank(), 64)
    batch = default_collate([drawn[i] for i in range(16)])
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=1e-2)
    choices = []
    for _ in range(12):
        made = first_click_loss(net, batch, RECIPE.loss)
        choices.append(made.terms["choice"])
        optimizer.zero_grad()
        made.total.backward()
        optimizer.step()
    assert choices[-1] < 0.8 * choices[0]
    changed = {
        name.split(".")[0] for name, value in net.state_dict().items() if not value.equal(before[name])
    }
    assert changed == {"quality"}


def test_other_window_rules_have_nothing_to_choose() -> None:
    recipe = replace(RECIPE, inference={"window": "zoom-in"})
    with pytest.raises(InputError, match="search_sides"):
        ClickTask().samples(recipe, bank(), 10)
    with pytest.raises(InputError, match="do not fit"):
        ClickTask().samples(replace(RECIPE, samples={"size": 3}), bank(), 10)
