"""The rule fitted to clicks, and the network whose features it is fitted to."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from napari_iseg.nn.pixel_rule import Evidence, PixelRule, fits, spread, under_clicks
from napari_iseg.nn.thin_net import ThinNet

SHAPE = (40, 50)


def clicks(*placed: tuple[int, int, bool]) -> torch.Tensor:
    rows = torch.full((2 * len(placed), 3), -1.0)
    for order, (row, col, positive) in enumerate(placed):
        signs = [p for _, _, p in placed[:order]]
        start = 0 if positive else len(placed)
        rows[start + signs.count(positive)] = torch.tensor([row, col, order])
    return rows


def striped() -> torch.Tensor:
    """(3, 40, 50): bright stripes in the first map, a slope in the second, noise in the third."""
    features = torch.zeros(3, *SHAPE)
    features[0, 8::10] = 1
    features[0, 9::10] = 1
    features[1] = torch.linspace(0, 1, SHAPE[1])
    features[2] = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    return features


def logits(features: torch.Tensor, placed: torch.Tensor, counts: tuple[int, ...]) -> list[torch.Tensor]:
    def rows(pixels: torch.Tensor) -> torch.Tensor:
        return features[:, pixels[:, 0], pixels[:, 1]].T

    rules = fits(PixelRule(), rows, placed, rows(spread(SHAPE, 300)), SHAPE, counts)
    return [torch.einsum("d,dhw->hw", rule.kernel, features) + rule.bias for rule in rules]


def test_a_click_finds_its_likes_all_over_the_picture() -> None:
    features = striped()
    one, two = logits(features, clicks((8, 25, True), (13, 25, False)), (1, 2))
    stripes = features[0] > 0
    for found in (one, two):  # how sure the rule is is learned; what it prefers is not
        assert found[stripes].quantile(0.05) > found[~stripes].quantile(0.95)


def test_rules_of_more_clicks_start_from_the_rule_before() -> None:
    features = striped()
    placed = clicks((8, 10, True), (13, 40, False), (28, 30, True))

    def rows(pixels: torch.Tensor) -> torch.Tensor:
        return features[:, pixels[:, 0], pixels[:, 1]].T

    anywhere, rule = rows(spread(SHAPE, 300)), PixelRule()
    all_at_once = fits(rule, rows, placed, anywhere, SHAPE, (1, 2, 3))
    on = fits(rule, rows, placed, anywhere, SHAPE, (3,), all_at_once[1])[0]
    assert torch.equal(on.kernel, all_at_once[2].kernel)
    alone = fits(rule, rows, placed, anywhere, SHAPE, (3,))[0]
    assert torch.equal(alone.kernel, on.kernel)


def test_a_background_click_comes_first() -> None:
    found = logits(striped(), clicks((13, 40, False), (8, 10, True)), (2,))[0]
    assert found[8, 30] > found[13, 10]


def test_everything_about_the_fit_can_be_learned() -> None:
    rule = PixelRule()
    features = torch.randn(20, 4, requires_grad=True)
    fitted = rule.fit(Evidence(features[:2], 2), Evidence(features[2:4], 2), features[4:], None)
    (fitted.kernel.sum() + fitted.bias).backward()
    for name, value in rule.named_parameters():
        assert value.grad is not None, name
        assert value.grad.abs().max() > 0, name
    assert features.grad is not None


def test_pixels_under_clicks_stay_inside_and_belong_to_their_click() -> None:
    pixels = under_clicks(torch.tensor([[0.0, 0.0], [39.4, 20.0]]), SHAPE)
    assert len(pixels) == 18
    assert pixels.min() == 0
    assert pixels[9:, 0].max() == 39
    assert set(pixels[9:, 1].tolist()) == {19, 20, 21}


def test_pixels_anywhere_are_the_same_every_time() -> None:
    assert torch.equal(spread(SHAPE, 50), spread(SHAPE, 50))
    assert (spread(SHAPE, 5000).max(0).values < torch.tensor(SHAPE)).all()


@pytest.fixture
def net() -> ThinNet:
    torch.manual_seed(0)
    net = ThinNet((8, 8, 8, 8), 5)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as after training: norms that do something
            torch.nn.init.uniform_(module.running_mean, -0.3, 0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    return net.eval()


@torch.no_grad()
def test_features_at_pixels_and_scores_are_those_of_the_whole_map(net: ThinNet) -> None:
    image = torch.rand(1, 3, 37, 50)
    features = net(image)[0]
    assert features.shape == (5, 37, 50)
    joined, halves = net.joined(image)[0], net.halves(image)[0]
    pixels = torch.tensor([[0, 0], [36, 49], [17, 4], [18, 5], [17, 5]])
    assert torch.allclose(net.at(joined, pixels), features[:, pixels[:, 0], pixels[:, 1]].T, atol=1e-5)
    kernel, bias = torch.randn(5), torch.tensor(0.3)
    expected = torch.einsum("d,dhw->hw", kernel, features) + bias
    assert torch.allclose(net.score(halves, kernel, bias)[:37, :50], expected, atol=1e-4)


@torch.no_grad()
def test_the_first_convolution_is_one_over_cells_of_two_by_two_pixels(net: ThinNet) -> None:
    first = net.level1[0][0]
    pixels = torch.rand(2, 6, 20, 32)
    expected = F.conv2d(F.pixel_unshuffle(pixels, 2), first.weight, padding=1)
    assert torch.allclose(first(pixels), expected, atol=1e-5)


@torch.no_grad()
def test_folded_norms_change_nothing(net: ThinNet) -> None:
    image = torch.rand(1, 3, 64, 64)
    before = net(image)
    net.fold()
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in net.modules())
    assert torch.allclose(net(image), before, atol=1e-4)


def test_a_rule_is_the_same_under_autocast() -> None:
    features, placed = striped(), clicks((8, 10, True), (13, 40, False), (28, 30, True))

    def rows(pixels: torch.Tensor) -> torch.Tensor:
        return features[:, pixels[:, 0], pixels[:, 1]].T

    anywhere = rows(spread(SHAPE, 300))
    exact = fits(PixelRule(), rows, placed, anywhere, SHAPE, (3,))[0]
    with torch.autocast("cpu", torch.bfloat16):
        rule = fits(PixelRule(), rows, placed, anywhere, SHAPE, (3,))[0]
    assert torch.equal(rule.kernel, exact.kernel)
