"""The normalised focal loss against values and gradients of the published code."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_iseg.training.losses import normalised_focal_loss

GOLDEN = Path(__file__).parent / "data" / "cfr_icl_nfl.npz"


@pytest.mark.parametrize("case", ["a05", "a025", "a05_g1"])
def test_loss_and_gradient_are_the_published_ones(case):
    with np.load(GOLDEN) as data:
        logits = torch.from_numpy(data["logits"]).requires_grad_()
        label = torch.from_numpy(data["label"])
        options = json.loads(str(data[f"{case}/config"]))
        expected_loss, expected_grad = data[f"{case}/loss"], data[f"{case}/grad"]
    loss = normalised_focal_loss(logits, label, **options)
    loss.mean().backward()
    np.testing.assert_allclose(loss.detach(), expected_loss, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(logits.grad, expected_grad, rtol=1e-4, atol=1e-8)
