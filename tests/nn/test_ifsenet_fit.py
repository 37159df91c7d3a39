"""The rule that is fitted to supports in closed form."""

from __future__ import annotations

import pytest
import torch

from napari_iseg.nn.ifsenet_fit import fit_map, fit_moments, solve

RIDGE = torch.tensor(0.01)


def levels(seed: int = 0, grow: float = 1.0) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Three maps of noise; one channel of each is brighter inside a square, by ``grow``."""
    torch.manual_seed(seed)
    inside = torch.zeros(64, 64)
    inside[16:40, 16:40] = 1
    made = [torch.randn(c, side, side) for c, side in ((5, 32), (4, 16), (3, 8))]
    for level in made:
        share = torch.nn.functional.adaptive_avg_pool2d(inside[None], level.shape[-2:])[0]
        level[1] += 3 * grow * share
    return made, inside


def iou(answer: torch.Tensor, inside: torch.Tensor) -> float:
    """Of the answer's positive part with the square, at the answer's size."""
    truth = torch.nn.functional.adaptive_avg_pool2d(inside[None], answer.shape[-2:])[0] > 0.5
    found = answer[0] > 0
    return float((found & truth).sum() / (found | truth).sum())


def test_a_rule_fitted_to_one_image_finds_the_object_on_another() -> None:
    made, inside = levels()
    rule = solve([fit_moments(made, inside, 1 - inside)], torch.ones(1), RIDGE)
    others, same = levels(1)
    assert iou(fit_map(others, rule), same) > 0.75
    flat, _ = levels(1, grow=0.0)
    assert float((fit_map(flat, rule) > 0).float().mean()) < 0.05


def test_a_rule_does_not_depend_on_the_units_of_features() -> None:
    made, inside = levels()
    plain = solve([fit_moments(made, inside, 1 - inside)], torch.ones(1), RIDGE)
    larger = [7 * level + 0.5 for level in made]
    scaled = solve([fit_moments(larger, inside, 1 - inside)], torch.ones(1), RIDGE)
    assert torch.allclose(fit_map(larger, scaled), fit_map(made, plain), atol=2e-2)


def test_supports_are_joined_by_their_weights() -> None:
    first, inside = levels(0)
    second, _ = levels(1)
    moments = [fit_moments(one, inside, 1 - inside) for one in (first, second)]
    alone = solve(moments[:1], torch.ones(1), RIDGE)
    nearly = solve(moments, torch.tensor([1.0, 1e-7]), RIDGE)
    assert torch.allclose(alone.kernel, nearly.kernel, atol=1e-4)
    both = solve(moments, torch.tensor([0.5, 0.5]), RIDGE)
    assert not torch.allclose(alone.kernel, both.kernel, atol=1e-3)


def test_a_support_without_the_label_says_what_it_is_not() -> None:
    """Something as bright as the object, on a picture where nothing is the object."""
    made, inside = levels()
    other, _ = levels(1)
    other[0][2] += 4 * torch.nn.functional.adaptive_avg_pool2d(inside[None], (32, 32))[0]
    made[0][2] += 4 * torch.nn.functional.adaptive_avg_pool2d(inside[None], (32, 32))[0]
    fore = fit_moments(made, inside, 1 - inside)
    back = fit_moments(other, torch.zeros(64, 64), torch.ones(64, 64))
    fooled = fit_map(other, solve([fore], torch.ones(1), RIDGE))
    warned = fit_map(other, solve([fore, back], torch.tensor([0.5, 0.5]), RIDGE))
    assert float(warned[:, 10:18, 10:18].mean()) < float(fooled[:, 10:18, 10:18].mean()) - 0.2


def test_gradients_reach_the_features_and_the_penalty() -> None:
    made, inside = levels()
    made = [level.requires_grad_() for level in made]
    ridge = torch.tensor(0.05, requires_grad=True)
    rule = solve([fit_moments(made, inside, 1 - inside)], torch.ones(1), ridge)
    fit_map(levels(1)[0], rule).square().mean().backward()
    assert all(level.grad is not None and level.grad.abs().sum() > 0 for level in made)
    assert ridge.grad is not None
    assert float(ridge.grad) != 0


def test_many_cells_cost_no_more_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    made, inside = levels()
    everything = fit_moments(made, inside, 1 - inside)
    monkeypatch.setattr("napari_iseg.nn.ifsenet_fit._MOST", 40)
    some = fit_moments(made, inside, 1 - inside)
    assert not torch.equal(everything, some)
    assert float(some[-2, -2]) == pytest.approx(float(everything[-2, -2]))


def test_under_autocast_the_rule_is_the_same() -> None:
    made, inside = levels()
    exact = solve([fit_moments(made, inside, 1 - inside)], torch.ones(1), RIDGE)
    with torch.autocast("cpu", torch.bfloat16):
        rule = solve([fit_moments(made, inside, 1 - inside)], torch.ones(1), RIDGE)
        answer = fit_map(made, rule)
    assert torch.equal(rule.kernel, exact.kernel)
    assert torch.equal(answer, fit_map(made, exact))
