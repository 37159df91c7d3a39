"""Models on a stand-in for a GPU: nothing is left on the CPU that is needed there, and answers come back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_networks import NETWORKS, inputs, model

import napari_iseg as iseg
from napari_iseg.interactive.edges import refine_edges
from napari_iseg.weights.store import load_edge_model
from stand_in_gpu import OnGpu, stand_in_gpu

IMAGE = np.random.default_rng(0).integers(0, 60, (96, 96), np.uint8)
IMAGE[20:60, 30:70] += 150
INSIDE = IMAGE > 100


def test_the_stand_in_tells_a_gpu_from_a_cpu():
    with stand_in_gpu():
        layer, here = torch.nn.Linear(3, 2).to("cuda"), torch.rand(4, 3, device="cuda")
        assert {x.device.type for x in (here, layer.weight, layer(here), here[0], here.new_zeros(2))} == {
            "cuda"
        }
        assert (here.cpu().device.type, here.cpu().to(here).device.type) == ("cpu", "cuda")
        with pytest.raises(RuntimeError, match="expected all tensors on cuda:0"):
            layer(torch.rand(4, 3))
        with pytest.raises(TypeError, match="numpy"):
            here.numpy()
        layer(here).sum().backward()
        assert isinstance(layer.weight.grad, torch.Tensor)
        assert isinstance(layer.weight, OnGpu)


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_network_answers_there_as_here(kind):
    expected, score = model(kind).scored(*inputs())
    with stand_in_gpu():
        made = model(kind, device="cuda")
        logits, certain = made.scored(*inputs())
        assert all(isinstance(weight, OnGpu) for weight in made.net.parameters())
    assert logits.device.type == certain.device.type == "cpu"
    torch.testing.assert_close(logits, expected, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(certain, score, atol=1e-3, rtol=1e-3)


def clicked(device: str) -> np.ndarray:
    session = iseg.Session(IMAGE, iseg.load_model("cfr-icl-starter", device=device, precision="float32"))
    session.click((40, 50))
    session.click((10, 10), positive=False)
    return np.asarray(session.click((25, 35)))


def boxed(device: str) -> np.ndarray:
    session = iseg.Session(IMAGE, iseg.load_model("sam-starter", device=device, precision="float32"))
    session.box((18, 28, 62, 72))
    return np.asarray(session.click((40, 50)))


def refined(device: str) -> np.ndarray:
    model = load_edge_model("is5net-starter", device=device, precision="float32")
    coarse = np.zeros_like(INSIDE)
    coarse[16:64, 26:74] = True
    return refine_edges(np.repeat(IMAGE[..., None], 3, 2).astype(np.float32) / 255, coarse, model)


def few_shot(device: str) -> np.ndarray:
    few = iseg.FewShot("ifsenet-starter", device=device)
    few.add_support(IMAGE, clicks=[(40, 50, True), (10, 10, False)])
    few.add_support(IMAGE.T, mask=INSIDE.T)
    return few.segment(IMAGE[::-1]).mask


@pytest.mark.parametrize("answer", [clicked, boxed, refined, few_shot])
def test_every_way_of_asking_works_there(answer):
    here = answer("cpu") > 0
    with stand_in_gpu():
        there = answer("cuda") > 0
    assert here.any()
    assert np.mean(here != there) < 0.002
