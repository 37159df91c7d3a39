import pytest
import torch

from napari_iseg.training.losses import normalised_focal_loss


def example():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1, 8, 9, generator=generator)
    target = (torch.rand(2, 1, 8, 9, generator=generator) > 0.6).float()
    return logits, target


def test_gamma_zero_is_half_the_cross_entropy():
    logits, target = example()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(
        (1, 2, 3)
    )
    torch.testing.assert_close(
        normalised_focal_loss(logits, target, gamma=0), expected / 2, rtol=1e-5, atol=0
    )


def test_ignored_pixels_change_nothing():
    logits, target = example()
    target[:, :, 4:] = -1
    expected = normalised_focal_loss(logits[:, :, :4], target[:, :, :4])
    other = logits.clone()
    other[:, :, 4:] += 3
    torch.testing.assert_close(normalised_focal_loss(other, target), expected)


def test_map_without_valid_pixels_is_zero_with_zero_gradient():
    logits = torch.randn(1, 1, 4, 4, requires_grad=True)
    loss = normalised_focal_loss(logits, torch.full((1, 1, 4, 4), -1))
    loss.sum().backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_gradient_does_not_flow_through_the_normaliser():
    """With one valid pixel the weight cancels in the value but not in the gradient."""
    logits = torch.tensor([[[[0.3]]]], requires_grad=True)
    loss = normalised_focal_loss(logits, torch.ones(1, 1, 1, 1))
    loss.sum().backward()
    p = torch.sigmoid(torch.tensor(0.3))
    assert loss.item() == pytest.approx(-0.5 * p.log().item(), rel=1e-5)
    expected = -0.5 * ((1 - p) - 2 * p * p.log())
    assert logits.grad.item() == pytest.approx(expected.item(), rel=1e-4)


def test_half_precision_is_computed_in_float32():
    logits, target = example()
    loss = normalised_focal_loss(logits.bfloat16(), target)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, normalised_focal_loss(logits.bfloat16().float(), target))
