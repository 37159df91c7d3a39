"""Attention of few tokens: segment-anything's, in another order of sums."""

from __future__ import annotations

import pytest
import torch

from napari_iseg.nn.few_tokens import FewTokenAttention
from napari_iseg.nn.triton_guard import keep_triton_out


@pytest.fixture(scope="module")
def both():
    """The package's attention and ours, with the same weights."""
    keep_triton_out()
    from segment_anything.modeling.transformer import Attention

    torch.manual_seed(0)
    theirs = Attention(32, 4, downsample_rate=2).double()
    ours = FewTokenAttention(32, 4, 16).double()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return theirs, ours


@pytest.mark.parametrize(("asking", "asked"), [(3, 50), (50, 3), (4, 50), (50, 40), (2, 5), (1, 1)])
def test_it_is_the_package_s_attention_for_any_numbers_of_tokens(both, asking: int, asked: int) -> None:
    theirs, ours = both
    q, k, v = (torch.randn(2, n, 32, dtype=torch.double) for n in (asking, asked, asked))
    torch.testing.assert_close(ours(q, k, v), theirs(q, k, v), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("asking", "asked"), [(3, 50), (50, 3)])
def test_gradients_are_the_package_s_too(both, asking: int, asked: int) -> None:
    theirs, ours = both
    q, k, v = (torch.randn(2, n, 32, dtype=torch.double) for n in (asking, asked, asked))
    grads = []
    for net in (theirs, ours):
        net.zero_grad()
        net(q, k, v).square().sum().backward()
        grads.append({name: value.grad.clone() for name, value in net.named_parameters()})
    for name, wanted in grads[0].items():
        torch.testing.assert_close(grads[1][name], wanted)


def test_few_tokens_do_not_project_the_places(both) -> None:
    _, ours = both
    seen = []
    handles = [
        getattr(ours, name).register_forward_hook(
            lambda _, given, __, name=name: seen.append((name, given[0].shape[1]))
        )
        for name in ("q_proj", "k_proj", "v_proj", "out_proj")
    ]
    many, few = torch.randn(1, 500, 32).double(), torch.randn(1, 3, 32).double()
    ours(few, many, many)
    ours(many, few, few)
    for handle in handles:
        handle.remove()
    assert {count for _, count in seen} == {3}
