"""Layers as matrix products: the same numbers as torch's own layers, packed only while that is true."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from napari_iseg.nn.fused import Linear, Packable, PatchConv, PointConv, pack, point_conv, products
from napari_iseg.nn.onednn import has_matrix_unit


def layers() -> dict[str, tuple[Packable, nn.Module, torch.Tensor]]:
    """Ours, torch's with the same weights, and an input, channels last as in the networks."""
    torch.manual_seed(0)
    maps = torch.randn(2, 6, 8, 4).to(memory_format=torch.channels_last)
    made = {
        "linear": (Linear(6, 10), nn.Linear(6, 10), torch.randn(2, 5, 6)),
        "point": (PointConv(6, 10), nn.Conv2d(6, 10, 1), maps),
        "patch": (PatchConv(6, 10, 4), nn.Conv2d(6, 10, 4, stride=4), maps),
    }
    for ours, theirs, _ in made.values():
        theirs.load_state_dict(ours.eval().state_dict())
    return made


@pytest.mark.parametrize("kind", ["linear", "point", "patch"])
def test_packed_layers_answer_as_torchs_own(kind):
    ours, theirs, x = layers()[kind]
    pack(ours)
    with torch.inference_mode():
        assert ours.packed(x) is not None
        torch.testing.assert_close(ours(x), theirs(x))
        if kind != "linear":
            assert ours(x).is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(ours(x), theirs(x))  # with gradients, unpacked
    ours(x).sum().backward()
    assert ours.weight.grad is not None


def test_gelu_is_the_exact_one():
    ours, theirs, x = layers()["linear"]
    pack(ours)
    with torch.inference_mode():
        torch.testing.assert_close(ours(3 * x, gelu=True), F.gelu(theirs(3 * x)))


@pytest.mark.parametrize("last", [True, False])
def test_a_point_convolution_without_a_layer(last):
    x = torch.randn(1, 6, 5, 7)
    x = x.to(memory_format=torch.channels_last) if last else x
    weight, bias = torch.randn(3, 6, 1, 1), torch.randn(3)
    with torch.inference_mode():
        torch.testing.assert_close(point_conv(x, weight, bias), F.conv2d(x, weight, bias))
        torch.testing.assert_close(point_conv(x, weight, None), F.conv2d(x, weight))


@pytest.mark.parametrize("count", [1, 3])
def test_every_sample_meets_its_own_matrix(count):
    x, matrices, bias = torch.randn(count, 7, 5), torch.randn(count, 5, 4).transpose(1, 2), torch.randn(4)
    wanted = torch.einsum("bnc,bdc->bnd", x, matrices)
    for mode in (torch.inference_mode, torch.enable_grad):
        with mode():
            torch.testing.assert_close(products(x, matrices), wanted)
            torch.testing.assert_close(products(x, matrices, bias, gelu=True), F.gelu(wanted + bias))


@pytest.mark.parametrize("kind", ["linear", "point", "patch"])
def test_changed_weights_are_never_answered_with_old_ones(kind):
    ours, theirs, x = layers()[kind]
    pack(ours)
    with torch.no_grad():
        ours.weight.mul_(2)
        theirs.weight.mul_(2)
        assert ours.packed(x) is None
        torch.testing.assert_close(ours(x), theirs(x))
        pack(ours)
        assert ours.packed(x) is not None
        torch.testing.assert_close(ours(x), theirs(x))
    ours.load_state_dict({key: value + 1 for key, value in theirs.state_dict().items()}, assign=True)
    with torch.no_grad():
        assert ours.packed(x) is None


@pytest.mark.parametrize("kind", ["linear", "point", "patch"])
def test_bfloat16_is_packed_where_the_cpu_computes_in_it(kind):
    ours, theirs, x = layers()[kind]
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        pack(ours, limit=0)  # sizes do not matter here
        assert (ours.packed(x) is not None) == has_matrix_unit()
        assert ours(x).dtype == torch.bfloat16
        torch.testing.assert_close(ours(x).float(), theirs(x).float(), atol=0.02, rtol=0.02)
    with torch.inference_mode():
        assert ours.packed(x) is None  # in float32
        torch.testing.assert_close(ours(x), theirs(x))


def test_packing_leaves_no_trace_in_files_and_copies():
    ours, theirs, x = layers()["linear"]
    before = list(ours.state_dict())
    pack(ours)
    assert list(ours.state_dict()) == before
    with torch.inference_mode():
        for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
            assert other.packed(x) is None
            torch.testing.assert_close(other(x), theirs(x))


def test_what_is_not_packed():
    ours, _, x = layers()["linear"]
    pack(ours.train())
    with torch.inference_mode():
        assert ours.packed(x) is None
        pack(ours.eval(), limit=4 * 6 * 10 - 1)
        assert ours.packed(x) is None
        with torch.autocast("cpu", torch.bfloat16):
            pack(ours)
        assert ours.packed(x) is None
        pack(ours, limit=4 * 6 * 10)
        assert ours.packed(x) is not None
        assert ours.packed(x.double()) is None
        with torch.autocast("cpu", torch.bfloat16):
            assert ours.packed(x) is None
