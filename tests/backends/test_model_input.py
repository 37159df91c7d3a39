"""What a model or a network of ours cannot take is refused in one sentence."""

from __future__ import annotations

import pytest
import torch
from tiny_networks import inputs, model

from napari_iseg import backends
from napari_iseg.errors import CheckpointError, InputError


@pytest.mark.parametrize(
    ("image", "before", "clicks"),
    [
        ((1, 2, 64, 64), (1, 1, 64, 64), (1, 2, 3)),
        ((3, 64, 64), (1, 1, 64, 64), (1, 2, 3)),
        ((1, 3, 64, 64), (1, 1, 64, 32), (1, 2, 3)),
        ((2, 3, 64, 64), (1, 1, 64, 64), (2, 2, 3)),
        ((1, 3, 64, 64), (1, 1, 64, 64), (1, 3, 3)),
        ((1, 3, 64, 64), (1, 1, 64, 64), (2, 3)),
    ],
)
def test_shapes_that_do_not_fit_are_named(image, before, clicks):
    made = model("cfr-icl conv")
    for ask in (made.logits, made.scored):
        with pytest.raises(
            InputError, match=r"clicks \(B, 2N, 3\), got " + str(image).replace("(", r"\(")[:4]
        ):
            ask(torch.zeros(image), torch.zeros(before), torch.zeros(clicks))
    assert made.logits(*inputs(64)).shape == (1, 1, 64, 64)


@pytest.mark.parametrize("name", ["cfr-icl", "mst", "adaptiveclick"])
def test_no_published_checkpoint_is_of_a_starter(name):
    with pytest.raises(CheckpointError, match=r"a network of our own .* load its weights with load_model"):
        backends.build(name, "starter").load_published({})
