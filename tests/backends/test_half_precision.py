"""Networks in half precision, as "auto" uses on a GPU; autocast does on a CPU what it does there."""

from __future__ import annotations

import pytest
import torch
from tiny_networks import NETWORKS, inputs, model

from napari_iseg.nn.prompt_rule import prompt_maps

HALVES = pytest.mark.parametrize("precision", ["bfloat16", "float16"])


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
