"""What prompts say before anything is learned: maps of a box, of clicks, of a mask, and the fitted rule."""

from __future__ import annotations

import torch

from napari_iseg.nn.prompt_rule import MAPS, STRIDE, prompt_maps

RULE, ELLIPSE, BOX, BEFORE, PLUS, MINUS, KNOWN = range(MAPS)
GRID = 24
NO_POINTS = torch.zeros(1, 0, 2), torch.zeros(1, 0)


def scene(sign: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (1, 3, G, G), one of which is the object's colour, with ``sign``; and the object (G, G)."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.zeros(GRID, GRID)
    truth[6:16, 5:10] = 1
    truth[6:9, 10:18] = 1  # an angle: half of its box is not the object
    features = 0.1 * torch.randn(1, 3, GRID, GRID, generator=generator)
    features[0, 1] += sign * truth
    return features, truth > 0


def iou(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a & b).sum() / (a | b).sum())


BOXES = torch.tensor([[5.0, 6.0, 18.0, 16.0]]) * STRIDE


def test_a_box_s_rule_finds_the_object_whether_it_is_bright_or_dark() -> None:
    for sign in (1.0, -1.0):
        features, truth = scene(sign)
        maps = prompt_maps(features, *NO_POINTS, BOXES, None)[0]
        assert maps.shape == (MAPS, GRID, GRID)
        assert iou(maps[RULE] > 0.3, truth) > 0.9
        assert iou(maps[BOX] > 0, truth) < 0.65
        assert not maps[[BEFORE, PLUS, MINUS, KNOWN]].any()


def test_the_box_and_its_ellipse_lie_where_the_box_is() -> None:
    maps = prompt_maps(scene(1.0)[0], *NO_POINTS, BOXES, None)[0]
    inside = torch.zeros(GRID, GRID, dtype=torch.bool)
    inside[6:16, 5:18] = True
    assert torch.equal(maps[BOX] > 0, inside)
    assert maps[ELLIPSE].amax() == maps[ELLIPSE, 10:12, 11].amax()
    assert (maps[ELLIPSE][~inside] < 0.5).all()


def test_clicks_are_disks_and_feed_the_rule() -> None:
    features, truth = scene(-1.0)
    points = torch.tensor([[[7.0, 12.0], [15.0, 13.0], [0.0, 0.0]]]) * STRIDE  # x, y; the last is unused
    maps = prompt_maps(features, points, torch.tensor([[1.0, 0.0, -1.0]]), None, None)[0]
    assert maps[PLUS, 12, 7] > 0
    assert maps[PLUS, 13, 15] == 0
    assert maps[MINUS, 13, 15] > 0
    assert maps[MINUS, 0, 0] == 0
    assert maps[PLUS, 0, 0] == 0
    assert iou(maps[RULE] > 0, truth) > 0.8


def test_a_lone_object_click_is_told_from_what_is_far() -> None:
    features, truth = scene(1.0)
    maps = prompt_maps(features, torch.tensor([[[7.0, 12.0]]]) * STRIDE, torch.ones(1, 1), None, None)[0]
    assert iou(maps[RULE] > 0, truth) > 0.8
    without = prompt_maps(features, torch.tensor([[[7.0, 12.0]]]) * STRIDE, torch.zeros(1, 1), None, None)[0]
    assert not without[RULE].any()  # a background click alone says nothing about the object


def test_a_mask_before_is_shown_and_believed() -> None:
    features, truth = scene(1.0)
    wrong = truth.clone()
    wrong[13:16] = False
    memory = torch.where(wrong, 6.0, -6.0)[None, None]
    maps = prompt_maps(features, *NO_POINTS, BOXES, torch.nn.functional.interpolate(memory, scale_factor=2))[
        0
    ]
    assert torch.equal(maps[BEFORE] > 0, wrong)
    assert (maps[KNOWN] == 1).all()
    assert iou(maps[RULE] > 0.3, truth) > 0.9


def test_gradients_reach_the_features_and_odd_prompts_stay_finite() -> None:
    features = scene(1.0)[0].expand(3, -1, -1, -1).clone().requires_grad_()
    side = GRID * STRIDE
    boxes = torch.tensor([[0.0, 0.0, side, side], [-20.0, -20.0, -8.0, -8.0], [30.0, 30.0, 30.0, 30.0]])
    maps = prompt_maps(features, torch.zeros(3, 0, 2), torch.zeros(3, 0), boxes, None)
    assert maps.isfinite().all()
    assert not maps[:2, RULE].any()  # nothing outside, nothing inside
    maps.sum().backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()
    assert features.grad[2].any()
    flat = prompt_maps(torch.zeros(1, 3, GRID, GRID), *NO_POINTS, BOXES, None)
    assert flat.isfinite().all()
