"""Networks in half precision, as "auto" uses on a GPU; autocast on a CPU rounds no less than there."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_networks import NETWORKS, inputs, model

from napari_iseg.nn.click_unet import Guidance
from napari_iseg.nn.exact import added
from napari_iseg.nn.plain_vit import Block
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
@pytest.mark.parametrize("kind", ["cfr-icl conv", "mst conv", "adaptiveclick conv", "ifsenet"])
def test_distances_from_clicks_are_exact(kind, precision):
    seen = []
    for name in ("float32", precision):
        made = model(kind, name)
        guidance = next(module for module in made.net.modules() if isinstance(module, Guidance))
        guidance.register_forward_hook(lambda _module, _inputs, out: seen.append(out))
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


@HALVES
def test_resampled_patch_kernels_are_exact_and_kept(precision):
    made = model("mst main", precision)
    made.logits(*inputs())
    patches, exact = made.net.backbone.patch_embed, model("mst main").net.backbone.patch_embed
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        kernel = patches.kernel(8)
        assert patches.kernel(8) is kernel
    assert torch.equal(kernel, exact.kernel(8))
    copy.deepcopy(made.net)  # which a kept view of a parameter would forbid


def test_what_runs_beside_the_layers_keeps_its_digits():
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert Block(32, 2)(torch.randn(1, 5, 32)).dtype == torch.float32
    new = torch.ones(3)
    assert added(new, torch.ones(3)) is new
    assert torch.equal(new, torch.full((3,), 2.0))
