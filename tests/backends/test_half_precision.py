"""Networks in half precision, as "auto" uses on a GPU; autocast does on a CPU what it does there."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from napari_iseg import backends
from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.model import Model
from napari_iseg.nn.prompt_rule import prompt_maps

VIT = {"img_size": 128, "embed_dim": 48, "depth": 4, "num_heads": 2, "neck_dims": [8, 8, 8, 8]}
CONV = {"trunk": "conv", "widths": [16, 16, 16, 32], "depths": [1, 1, 1, 1], "sweeps": 2}
DECODER = {"decoder_dim": 32, "feedforward_dim": 32, "encoder_layers": 1, "decoder_layers": 2, "queries": 4}
SAM = {"embed_dim": 32, "depth": 2, "num_heads": 2, "global_attn_indexes": [1], "window_size": 2}
SAM |= {"img_size": 128, "prompt_dim": 32, "mlp_dim": 32, "iou_dim": 16}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "cfr-icl": ("cfr-icl", VIT | {"upsample": "x4", "head_channels": 8}),
    "cfr-icl conv": ("cfr-icl", CONV),
    "mst main": ("mst", VIT | {"depth": 12, "head_channels": 8, "branch": "main"}),
    "mst 1024": ("mst", VIT | {"depth": 12, "head_channels": 8, "branch": "mst-1024"}),
    "mst conv": ("mst", CONV),
    "adaptiveclick": ("adaptiveclick", VIT | DECODER),
    "adaptiveclick conv": ("adaptiveclick", CONV | DECODER),
    "sam": ("sam", SAM),
    "sam conv": ("sam", {"encoder": "conv", "img_size": 128, "prompt_dim": 80, "mlp_dim": 32, "iou_dim": 16}),
}
HALVES = pytest.mark.parametrize("precision", ["bfloat16", "float16"])


def model(kind: str, precision: str) -> Model:
    """A tiny network, the same one at every call."""
    name, variant = NETWORKS[kind]
    torch.manual_seed(0)
    card = ModelCard(kind, name, variant)
    return Model(card, backends.build(name, variant), device="cpu", precision=precision)


def inputs(side: int = 128) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A bright square on noise, half of it known, a click on either side."""
    torch.manual_seed(1)
    image, before = 0.2 * torch.rand(1, 3, side, side), torch.zeros(1, 1, side, side)
    image[..., 30:90, 40:100] += 0.5
    before[..., 30:60, 40:100] = 1
    return image, before, torch.tensor([[[61.0, 71.5, 0], [-1, -1, -1], [111.25, 20, 1], [-1, -1, -1]]])


@HALVES
@pytest.mark.parametrize("kind", NETWORKS)
def test_every_network_answers_as_in_float32(kind, precision):
    with torch.random.fork_rng():
        exact, expected = model(kind, "float32").scored(*inputs())
        found, score = model(kind, precision).scored(*inputs())
    assert found.dtype == score.dtype == torch.float32
    assert float((found - exact).abs().median()) < 0.1 * float(exact.std())
    torch.testing.assert_close(score, expected, atol=0.05, rtol=0)


@HALVES
@pytest.mark.parametrize("kind", [kind for kind in NETWORKS if "conv" in kind and "sam" not in kind])
def test_distances_from_clicks_are_exact(kind, precision):
    seen = []
    for name in ("float32", precision):
        made = model(kind, name)
        made.net.guidance.register_forward_hook(lambda _module, _inputs, out: seen.append(out))
        made.logits(*inputs())
    assert torch.equal(*seen)


@HALVES
@pytest.mark.parametrize("kind", ["sam", "sam conv"])
def test_positions_of_prompts_are_exact(kind, precision):
    """In bfloat16 a click would lie two pixels beside itself."""
    points, labels, boxes = (
        torch.tensor([[[90.3, 35.7]]]),
        torch.ones(1, 1),
        torch.tensor([[3.2, 5, 99, 110]]),
    )
    seen = []
    for name in ("float32", precision):
        made = model(kind, name)
        made.net.prompt_encoder.register_forward_hook(lambda _module, _inputs, out: seen.append(out[0]))
        embedding = made.run(made.net.encode, inputs()[0])
        made.run(made.net.decode, embedding, points, labels, boxes, None)
        made.scored(*inputs())
    assert len(seen) == 4
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])


def test_a_rule_is_fitted_exactly():
    torch.manual_seed(0)
    features = torch.randn(1, 6, 16, 16)
    prompts = torch.tensor([[[20.0, 30]]]), torch.ones(1, 1), torch.tensor([[8.0, 8, 40, 44]]), None
    exact = prompt_maps(features, *prompts)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(prompt_maps(features, *prompts), exact)
