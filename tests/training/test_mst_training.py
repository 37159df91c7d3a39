"""Training of MST: its terms, their switches, resuming, and losses beyond the golden numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_iseg import backends
from napari_iseg.nn.mst_score import Selection
from napari_iseg.training.bank import Bank, picture
from napari_iseg.training.fit import Trainer
from napari_iseg.training.log import Progress
from napari_iseg.training.mst import published_weights
from napari_iseg.training.mst_losses import score_loss, token_loss
from napari_iseg.training.recipe import LossRecipe, OptimRecipe, Recipe, read_recipe
from napari_iseg.training.synthetic import random_scene
from napari_iseg.training.task import Step, task_for

TINY = {
    "img_size": 64,
    "patch_size": 8,
    "embed_dim": 32,
    "depth": 2,
    "num_heads": 2,
    "neck_dims": [8, 8, 8, 8],
    "head_channels": 8,
    "branch": "main",
    "scoring": [1],
    "quality": True,
}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def bank() -> Bank:
    made = Bank()
    made.add("scenes", [picture(*random_scene(np.random.default_rng(i), 96)) for i in range(3)], 1.0)
    return made


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(
        "tiny",
        backend="mst",
        variant=TINY,
        keep_every=2,
        workers=1,
        samples={"size": 32, "late_size": 64},
        optim=OptimRecipe(steps=4, batch=2, rate=1e-3, warmup=1, decay_from=2),
        loss=LossRecipe(icl=False, dice=1.0, free_share=1.0, free_forwards=1, max_forwards=1),
    )


def test_a_killed_run_ends_as_one_that_was_not_and_logs_every_term(
    bank: Bank, recipe: Recipe, tmp_path: Path
) -> None:
    class Killed(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.step == 3:
            raise Killed

    seen: list[Progress] = []
    whole = Trainer(recipe, bank, tmp_path / "whole").run(seen.append)
    assert [set(p.terms) for p in seen] == [{"focal", "dice", "token", "score", "quality"}] * 4
    assert all(np.isfinite(value) for p in seen for value in p.terms.values())
    with pytest.raises(Killed):
        Trainer(recipe, bank, tmp_path / "killed").run(stop)
    resumed = Trainer(recipe, bank, tmp_path / "killed").run()
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def test_the_starter_begins_as_the_cfr_icl_one_answers_and_learns_its_own_part() -> None:
    widths = {"trunk": "conv", "widths": [8, 8, 16, 32], "depths": [1, 1, 1, 1], "sweeps": 2}
    torch.manual_seed(0)
    plain, ours = (backends.build(name, widths).eval() for name in ("cfr-icl", "mst"))
    missing, unexpected = ours.load_state_dict(plain.state_dict(), strict=False)
    assert unexpected == []
    assert all(name.startswith(("small.", "large.", "scales.")) for name in missing)
    image, clicks = torch.rand(2, 3, 64, 96), torch.full((2, 4, 3), -1.0)
    clicks[0, 0] = torch.tensor([20.0, 70, 0])
    inputs = image, torch.zeros(2, 1, 64, 96), clicks
    with torch.no_grad():
        assert torch.equal(ours(*inputs), plain(*inputs))
        ours.scales.gamma2.fill_(1.0)
        assert not torch.allclose(ours(*inputs), plain(*inputs), atol=1e-4)
        ours.scales.gamma.fill_(1.0)
        out = ours.detailed(*inputs)
    small, large = out.chosen[0]
    assert small.scores.shape == (2, 8 * 12)
    assert large.scores.shape == (2, 2 * 3)
    assert small.tokens[0].any()
    assert not small.tokens[1].any()
    out = ours.train().detailed(*inputs)
    (out.logits.square().mean() + out.quality.square().mean()).backward()
    assert [name for name, value in ours.named_parameters() if value.grad is None] == []
    with torch.inference_mode():
        assert ours(image[..., :50, :40], inputs[1][..., :50, :40], clicks).shape == (2, 1, 50, 40)


def test_each_term_can_be_switched_off(bank: Bank, recipe: Recipe) -> None:
    torch.manual_seed(0)
    task = task_for("mst")
    net = task.build(recipe).train()
    samples = task.samples(recipe, bank, 4)
    batch = torch.utils.data.default_collate([samples[i] for i in range(2)])

    def total(**terms: float) -> tuple[float, dict[str, float]]:
        plain = {"dice": 0.0, "quality": 0.0, "token": 0.0, "score": 0.0}
        part = replace(recipe, loss=replace(recipe.loss, free_share=0.0, terms={**plain, **terms}))
        torch.manual_seed(1)  # the same dropout
        made = task.loss(Step(net, batch, part, np.random.default_rng(0), lambda n: 0))
        return float(made.total.detach()), made.terms

    alone, terms = total()
    assert alone == pytest.approx(terms["focal"], rel=1e-5)
    for name in ("token", "score", "quality"):
        value, terms = total(**{name: 2.0})
        assert terms[name] > 0
        assert value == pytest.approx(alone + 2 * terms[name], rel=1e-4)


def test_a_few_steps_on_one_batch_lower_every_term(bank: Bank, recipe: Recipe) -> None:
    torch.manual_seed(0)
    task = task_for("mst")
    late = replace(recipe.optim, decay_from=0)  # large windows
    recipe = replace(recipe, optim=late, loss=replace(recipe.loss, free_share=0.0))
    net = task.build(recipe).train()
    samples = task.samples(recipe, bank, 4)
    batch = torch.utils.data.default_collate([samples[i] for i in range(2)])
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    history = []
    for _ in range(25):
        made = task.loss(Step(net, batch, recipe, np.random.default_rng(0), lambda n: 0))
        optimizer.zero_grad()
        made.total.backward()
        optimizer.step()
        history.append(made.terms)
    for name in ("focal", "dice", "score", "token"):
        assert np.mean([h[name] for h in history[-5:]]) < np.mean([h[name] for h in history[:5]]), name


def test_weights_are_those_of_the_branches_scripts() -> None:
    assert published_weights("main") == published_weights("mst-448") == {"token": 1.0, "score": 1.0}
    assert published_weights("mst-224-6s") == published_weights("mst-1024") == {"token": 1e-3, "score": 1e-3}
    assert published_weights("mst-224-large") == {"token": 1.0, "score": 0.0}


def chosen(scores: torch.Tensor, index: torch.Tensor, tokens: torch.Tensor) -> Selection:
    return Selection(torch.zeros(len(scores), tokens.shape[-1]), scores, index, tokens)


def test_token_loss_compares_distances_of_tokens_and_not_their_number() -> None:
    truth = torch.zeros(1, 1, 32, 32)
    truth[..., :8, :8] = 1  # token 0 of the 4 x 4 small ones, none of the large one
    near, far = torch.full((1, 1, 4), 0.5), torch.full((1, 6, 4), 1.5)  # distances 1 and 3 from the kernel 0
    small = chosen(torch.ones(1, 16), torch.arange(7)[None], torch.cat([near, far], 1))
    large = chosen(torch.ones(1, 1), torch.zeros(1, 1, dtype=torch.long), torch.ones(1, 1, 4))
    expected = float(torch.nn.functional.softplus(torch.tensor(1.0 - 3.0)))
    assert float(token_loss([(small, large)], truth, 16)) == pytest.approx(expected)
    assert float(token_loss([(small, large)], torch.zeros_like(truth), 16)) == 0
    # Published, main: the norm runs over the slots, so six equal tokens are sqrt(6) times as far as one.
    expected = float(torch.nn.functional.softplus(torch.tensor(0.5 - 1.5 * 6**0.5)))
    assert float(token_loss([(small, large)], truth, 16, published=True)) == pytest.approx(expected)


def test_score_loss_is_zero_without_clicks_and_ignores_what_is_to_be_ignored() -> None:
    truth = torch.zeros(2, 1, 32, 32)
    truth[:, :, :16] = 1
    truth[:, :, 16:] = -1
    scores = torch.rand(2, 16)
    index = torch.zeros(2, 1, dtype=torch.long)

    def pair(values: torch.Tensor) -> tuple[Selection, Selection]:
        tokens = torch.zeros(2, 1, 4)
        return chosen(values, index, tokens), chosen(values[:, :1], index, tokens)

    assert float(score_loss([pair(torch.zeros(2, 16))], truth, 16)) == 0
    other = scores.clone()
    other[:, 8:] = 0.5  # ignored half
    for squared in (False, True):
        found = score_loss([pair(scores)], truth, 16, squared=squared)
        assert float(found) > 0
        assert float(found) == pytest.approx(float(score_loss([pair(other)], truth, 16, squared=squared)))
    published = score_loss([pair(scores)], truth, 16, squared=True, published=True)
    assert float(published) > float(score_loss([pair(scores)], truth, 16, squared=True))


def test_the_starter_recipe_names_terms_that_exist_and_a_network_within_its_limits() -> None:
    recipe = read_recipe(Path(__file__).parents[2] / "recipes" / "mst-starter.toml")
    net = task_for(recipe.backend).build(recipe)
    assert sum(value.numel() for value in net.parameters()) * 2 < 12e6
    assert set(recipe.loss.terms) <= {"focal", "dice", "token", "score", "quality"}
