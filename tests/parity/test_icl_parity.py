"""Iterative click loss through a small network: loss, terms and gradients of the published training step."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from fill import fill

from napari_iseg import backends
from napari_iseg.training.iterative import free_clicks, icl_objective

GOLDEN = Path(__file__).parent / "data" / "cfr_icl_loss.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as data:
        return dict(data)


@pytest.fixture(scope="module")
def net(golden):
    sizes = json.loads(str(golden["config"]))
    variant = {
        "img_size": sizes["img"],
        "patch_size": sizes["patch"],
        "embed_dim": sizes["dim"],
        "depth": sizes["depth"],
        "num_heads": sizes["heads"],
        "neck_dims": sizes["out"],
        "upsample": sizes["up"],
        "head_channels": sizes["ch"],
    }
    net = backends.build("cfr-icl", variant)
    fill(net, json.loads(str(golden["gains"])))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the network is so small that threads only wait for each other
    yield net.eval()  # the golden numbers are without dropout
    torch.set_num_threads(threads)


@pytest.mark.parametrize("case", ["icl1", "icl2", "icl3", "ritm2"])
def test_training_step_is_the_published_one(golden, net, case):
    image = torch.from_numpy(golden["image"]).permute(0, 3, 1, 2).float() / 255
    truth = torch.from_numpy(golden["gt"]).float()
    clicks = [torch.from_numpy(points) for points in golden[f"{case}/points"]]  # stored, not simulated
    inputs = net, image, truth, torch.from_numpy(golden["points0"])
    net.zero_grad()
    count = int(case[-1])
    if case.startswith("icl"):
        made = icl_objective(*inputs, forwards=count, add_click=lambda *_: clicks.pop(0))
    else:
        previous, placed = free_clicks(*inputs, count=count, add_click=lambda *_: clicks.pop(0))
        made = icl_objective(
            *inputs[:3], placed, forwards=1, add_click=lambda *_: clicks.pop(0), previous=previous
        )
    made.loss.backward()
    assert not clicks
    assert made.loss.item() == pytest.approx(float(golden[f"{case}/loss"]), rel=1e-4)
    np.testing.assert_allclose([t.item() for t in made.terms], golden[f"{case}/terms"], rtol=1e-4)
    np.testing.assert_allclose(made.logits.detach()[:, 0, ::8, ::8], golden[f"{case}/logits"], atol=2e-4)
    published = net.published_names()
    gradients = {published[name]: p.grad for name, p in net.named_parameters() if p.grad is not None}
    names = json.loads(str(golden[f"{case}/grad_names"]))
    norms = [float(gradients[name].norm()) for name in names]
    np.testing.assert_allclose(norms, golden[f"{case}/grad_norms"], rtol=1e-3, atol=1e-9)
    expected = golden[f"{case}/grad_coords"]
    found = gradients["patch_embed_coords.proj.weight"][:8, :, ::4, ::4]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    conv = gradients["head.conv_seg.weight"].flatten()
    np.testing.assert_allclose(conv, golden[f"{case}/grad_conv_seg"], rtol=1e-3, atol=1e-6)


def test_weights_that_the_published_step_leaves_alone_get_no_gradient(golden, net):
    net.zero_grad()
    image = torch.from_numpy(golden["image"]).permute(0, 3, 1, 2).float() / 255
    truth = torch.from_numpy(golden["gt"]).float()
    icl_objective(
        net, image, truth, torch.from_numpy(golden["points0"]), forwards=1, add_click=None
    ).loss.backward()
    published = net.published_names()
    trained = {published[n] for n, p in net.named_parameters() if p.grad is not None and p.grad.any()}
    assert trained.isdisjoint(json.loads(str(golden["unused_parameters"])))
