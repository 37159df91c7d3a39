"""The adaptive focal loss on its own: what it contains, what it ignores, where its gradient is finite."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from napari_iseg.training.adaptive_focal import adaptive_focal_loss
from napari_iseg.training.losses import normalised_focal_loss

PLAIN = {"adaptive": False, "alpha": 0.0}


@pytest.fixture
def maps():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4, 1, 16, 20, generator=generator)
    return logits, (torch.rand(4, 1, 16, 20, generator=generator) > 0.7).float()


def test_binary_cross_entropy_is_a_special_case(maps):
    ours = adaptive_focal_loss(*maps, gamma=0.0, epsilon=None, normalise=False, **PLAIN)
    theirs = F.binary_cross_entropy_with_logits(*maps, reduction="none").mean((1, 2, 3))
    torch.testing.assert_close(ours, theirs)


def test_focal_loss_is_a_special_case(maps):
    logits, target = maps
    ours = adaptive_focal_loss(logits, target, gamma=2.0, epsilon=0.25, normalise=False, **PLAIN)
    right = torch.where(target > 0.5, logits.sigmoid(), 1 - logits.sigmoid())
    balance = torch.where(target > 0.5, 0.25, 0.75)
    theirs = (-balance * (1 - right) ** 2 * right.log()).mean((1, 2, 3))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_normalised_focal_loss_is_a_special_case_with_ignored_pixels(maps):
    logits, target = maps
    target[:, :, :4] = -1
    ours = adaptive_focal_loss(logits, target, delta=0.0, epsilon=0.3, **PLAIN)
    theirs = normalised_focal_loss(logits, target, alpha=0.3, gamma=2.0)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_the_exponent_grows_where_the_object_is_badly_found(maps):
    """With the same easy background, the easy pixels weigh less in a map whose object is lost."""
    target = maps[1]
    lost, found = torch.full_like(target, -2.0), torch.where(target > 0.5, 4.0, -2.0)
    shares = []
    for logits in (lost, found):
        logits = logits.clone().requires_grad_()
        adaptive_focal_loss(logits, target, normalise=False, alpha=0.0, epsilon=None).sum().backward()
        shares.append(logits.grad[target < 0.5].abs().mean())
    assert shares[0] < 0.7 * shares[1]


@pytest.mark.parametrize("gamma", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("size", [0.0, 20.0, 120.0, 1e4])
def test_the_gradient_is_finite_for_every_finite_logit(gamma, size):
    logits = torch.tensor([[size, -size, size, -size]], requires_grad=True)
    target = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    loss = adaptive_focal_loss(logits, target, gamma=gamma)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert logits.grad.isfinite().all()
    if size:  # the two wrong pixels pull back
        assert logits.grad[0, 1] < 0 < logits.grad[0, 2]


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
def test_a_map_of_one_kind_only_is_no_trouble(value):
    logits = torch.zeros(1, 8, requires_grad=True)
    loss = adaptive_focal_loss(logits, torch.full((1, 8), value))
    loss.sum().backward()
    assert logits.grad.isfinite().all()
    assert (loss == 0).all() == (value == -1)


def test_half_precision_is_computed_in_float32(maps):
    logits, target = maps
    assert adaptive_focal_loss(logits.half(), target.half()).dtype == torch.float32
