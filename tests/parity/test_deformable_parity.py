"""Multi-scale deformable attention and the sine code against the published numbers."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from fill import weight

from napari_iseg.nn.deformable import DeformableAttention, deformable_sample
from napari_iseg.nn.sine_code import SineCode

DATA = Path(__file__).parent / "data"
FULL = os.environ.get("ISEG_PARITY")


@pytest.fixture(scope="module", params=[DATA, Path(FULL)] if FULL else [DATA], ids=lambda folder: folder.name)
def golden(request):
    with np.load(request.param / "msdeform_attn.npz") as archive:
        return {key: torch.tensor(value) for key, value in archive.items() if value.dtype.kind != "U"}


def shapes_of(golden):
    return [(int(rows), int(cols)) for rows, cols in golden["spatial_shapes"]]


def test_core_and_its_gradients_are_the_published_ones(golden):
    names = ("value", "sampling_locations", "attention_weights")
    given = [golden[name].clone().requires_grad_() for name in names]
    out = deformable_sample(given[0], shapes_of(golden), given[1], given[2])
    torch.testing.assert_close(out, golden["output"], rtol=0, atol=1e-5)
    out.backward(golden["grad_output"])
    for name, tensor in zip(names, given, strict=True):
        expected = golden[f"grad_{name}"]
        atol = 1e-5 * float(expected.abs().max())
        torch.testing.assert_close(tensor.grad, expected, rtol=0, atol=atol, msg=name)


def test_sine_code_is_the_published_one(golden):
    code = SineCode(64)(5, 7, torch.device("cpu"))
    expected = golden["sine_position_5x7_64"][0].flatten(1).T
    torch.testing.assert_close(code, expected, rtol=0, atol=1e-6)


if FULL:

    def test_module_is_the_published_one():
        with np.load(Path(FULL) / "msdeform_attn.npz") as archive:
            stored = dict(archive)
        module, prefix = DeformableAttention(64), str(stored["module_key_prefix"])
        state = {key: weight(prefix + key, tuple(value.shape)) for key, value in module.state_dict().items()}
        module.load_state_dict(state)
        query, source, reference = (
            torch.tensor(stored[f"module_{name}"]) for name in ("query", "src", "reference_points")
        )
        shapes = [(int(rows), int(cols)) for rows, cols in stored["spatial_shapes"]]
        with torch.inference_mode():
            out = module(query, source, reference, shapes)
        np.testing.assert_allclose(out, stored["module_output"], rtol=0, atol=1e-4)
