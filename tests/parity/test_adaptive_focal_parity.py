"""The adaptive focal loss, and the losses it contains, against values and gradients of the published code."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_iseg.training.adaptive_focal import adaptive_focal_loss

DATA = Path(__file__).parent / "data"
FULL = os.environ.get("ISEG_PARITY")
PAIRS = 3  # the stored values are sums over maps divided by this
SETTINGS = range(8) if FULL else range(3)
SPECIAL = {
    "bce": {"gamma": 0.0, "epsilon": None, "normalise": False},
    "focal": {"epsilon": 0.25, "normalise": False},
    "nfl": {"epsilon": 0.25, "delta": 0.0},
}


@pytest.fixture(scope="module")
def golden():
    with np.load((Path(FULL) if FULL else DATA) / "adaptive_focal_loss.npz") as archive:
        return dict(archive)


def value_and_gradient(golden, kind, **options):
    target = torch.tensor(golden[f"targets{kind}"])
    logits = torch.tensor(golden["logits_large" if kind == "_large" else "logits"])[: len(target)]
    logits.requires_grad_()
    value = adaptive_focal_loss(logits, target, **options).sum() / PAIRS
    value.backward()
    return value.item(), logits.grad.numpy()


def check_gradient(gradient, expected, share=1e-5):
    finite = np.isfinite(expected)
    np.testing.assert_allclose(
        gradient[finite], expected[finite], rtol=0, atol=share * np.abs(expected[finite]).max()
    )


@pytest.mark.parametrize("kind", ["", "_large", "_soft"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_loss_is_the_published_one_and_its_gradient_is_always_finite(golden, kind, setting):
    epsilon, gamma, delta, alpha = golden["afl_settings_epsilon_gamma_delta_alpha"][setting]
    value, gradient = value_and_gradient(
        golden, kind, epsilon=epsilon if epsilon >= 0 else None, gamma=gamma, delta=delta, alpha=alpha
    )
    assert value == pytest.approx(golden[f"afl_value{kind}"][setting], rel=1e-5)
    assert np.isfinite(gradient).all()
    check_gradient(gradient, golden[f"afl_grad{kind}"][setting])


def test_the_published_gradient_is_not_always_finite(golden):
    """Gamma 0 and logits to +-120: what the finite gradient above is worth."""
    settings = golden["afl_settings_epsilon_gamma_delta_alpha"]
    without_focus = int(np.flatnonzero(settings[:, 1] == 0)[0])
    assert np.isnan(golden["afl_grad_large"][without_focus]).any()


@pytest.mark.parametrize("kind", ["", "_large", "_soft"])
@pytest.mark.parametrize("name", SPECIAL)
def test_special_cases_are_the_losses_of_that_name(golden, kind, name):
    options = {"adaptive": False, "alpha": 0.0, **SPECIAL[name]}
    value, gradient = value_and_gradient(golden, kind, **options)
    assert value == pytest.approx(float(golden[f"{name}_value{kind}"]), rel=1e-5)
    check_gradient(gradient, golden[f"{name}_grad{kind}"])


@pytest.mark.parametrize("name", ["afl", "nfl", "focal", "bce"])
def test_dense_form_with_ignored_pixels(golden, name):
    """The authors' second form takes 1 - p in float32, so its gradients are good to 1e-4 only."""
    own = {"adaptive": False, "alpha": 0.0}
    options = {
        "afl": {"epsilon": None},
        "nfl": {**own, "delta": 0.0},
        "focal": {**own, "normalise": False},
        "bce": {**own, "gamma": 0.0, "epsilon": None, "normalise": False},
    }[name]
    target = torch.tensor(golden["module_targets"])
    logits = torch.tensor(golden["logits"]).view(target.shape).requires_grad_()
    value = adaptive_focal_loss(logits, target, **options)
    if name == "bce":  # theirs divides by all pixels
        value = value * (target >= 0).float().mean((1, 2, 3))
    np.testing.assert_allclose(value.detach(), golden[f"module_{name}_value"], rtol=1e-5)
    value.sum().backward()
    check_gradient(logits.grad.numpy(), golden[f"module_{name}_grad"], share=1e-4)
    assert (logits.grad[target < 0] == 0).all()
