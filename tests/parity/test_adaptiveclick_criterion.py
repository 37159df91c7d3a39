"""Targets, matching and losses of AdaptiveClick against the published criterion."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from adaptiveclick_golden import DATA, thinned

from napari_iseg.nn.adaptiveclick_decoder import Prediction
from napari_iseg.training.adaptiveclick_loss import WEIGHTS, query_losses
from napari_iseg.training.adaptiveclick_targets import match, matching_costs, published_targets

FULL = os.environ.get("ISEG_PARITY")
NAMES = {"class": "loss_ce", "dice": "loss_dice", "adaptive_focal": "loss_mask"}


@pytest.fixture(scope="module", params=["reduced", "full"] if FULL else ["reduced"])
def golden(request):
    full = request.param == "full"
    with np.load((Path(FULL) if full else DATA) / "adaptiveclick_criterion.npz") as archive:
        stored = dict(archive)
    if full:
        values = dict(zip(stored["loss_names"].tolist(), stored["loss_values"].tolist(), strict=True))
        ends = [*(f"_{i}" for i in range(9)), ""]
        stored["losses"] = {name: [values[name + end] for end in ends] for name in NAMES.values()}
        for name in ("grad_pred_masks", "grad_pred_masks_layer0"):
            stored[name] = thinned(stored[name])
    else:
        stored["losses"] = json.loads(str(stored["losses"]))
        stored["gt_masks"] = np.unpackbits(stored["gt_masks"]).reshape(3, 1, 112, 112).astype(np.float32)
    return stored


def targets_of(golden):
    return published_targets(torch.tensor(golden["gt_masks"]), (28, 28))


def test_targets_are_the_published_ones(golden):
    for image, target in enumerate(targets_of(golden)):
        assert target.labels.tolist() == golden[f"target_labels_{image}"].tolist()
        assert target.masks.sum(1).tolist() == golden[f"target_areas_{image}"].tolist()


@pytest.mark.parametrize("image", [0, 1, 2])
def test_costs_and_matching_are_the_published_ones(golden, image):
    classes = torch.tensor(golden["pred_logits"])[-1:, image]
    masks = torch.tensor(golden["pred_masks"])[-1:, image].flatten(2)
    target = targets_of(golden)[image]
    costs = matching_costs(classes, masks, target)
    for ours, name in ((costs.classes, "class"), (costs.focal, "afl"), (costs.dice, "dice")):
        np.testing.assert_allclose(ours[0], golden[f"cost_{name}_{image}"], rtol=1e-5, atol=1e-6)
    queries, chosen = (part[0].numpy() for part in match(classes, masks, target))
    labels = target.labels.numpy()
    stored_queries, stored_chosen = golden[f"match_query_{image}"], golden[f"match_target_{image}"]
    for label in (0, 1):  # copies of the background are one and the same target
        ours = set(queries[labels[chosen] == label])
        assert ours == set(stored_queries[labels[stored_chosen] == label])


def test_losses_and_gradients_are_the_published_ones(golden):
    classes = torch.tensor(golden["pred_logits"], requires_grad=True)
    masks = torch.tensor(golden["pred_masks"], requires_grad=True)
    losses = query_losses(
        [Prediction(*pair) for pair in zip(classes, masks, strict=True)], targets_of(golden)
    )
    for ours, theirs in NAMES.items():
        np.testing.assert_allclose(losses[ours].detach(), golden["losses"][theirs], rtol=1e-5)
    total = sum(WEIGHTS[name] * loss.sum() for name, loss in losses.items())
    if "total_loss" in golden:
        assert total.item() == pytest.approx(float(golden["total_loss"]), rel=1e-5)
    total.backward()
    stored = {
        "grad_pred_logits": classes.grad.numpy(),
        "grad_pred_masks": thinned(masks.grad[-1].numpy()),
        "grad_pred_masks_layer0": thinned(masks.grad[0].numpy()),
    }
    for name, ours in stored.items():
        expected = golden[name]
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5 * np.abs(expected).max(), err_msg=name)
