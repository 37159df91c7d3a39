"""Key names and shapes of the published MST branches."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from fill import fill

from napari_iseg import backends
from napari_iseg.backends.mst_variants import VARIANTS, published_shapes, read_sizes
from napari_iseg.weights.store import load_model

FULL = os.environ.get("ISEG_PARITY")
TABLES = json.loads((Path(__file__).parent / "data" / "mst_keys.json").read_text())


def shapes_of(variant):
    return {key: tuple(shape) for key, shape in TABLES[variant].items()}


@pytest.mark.parametrize("variant", TABLES)
def test_own_keys_are_the_published_keys(variant):
    with torch.device("meta"):
        net = backends.build("mst", variant=variant)
    own = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    assert own == shapes_of(variant)
    assert own == published_shapes(read_sizes(VARIANTS[variant]))
    assert net.published_names() == {key: key for key in own}


@pytest.mark.parametrize("variant", TABLES)
def test_published_file_loads_strictly(variant):
    with torch.device("meta"):
        net = backends.build("mst", variant=variant)
    state = {key: torch.empty(shape, device="meta") for key, shape in shapes_of(variant).items()}
    net.load_published(state)
    assert net.backbone.pos_embed.shape == state["backbone.pos_embed"].shape


@pytest.mark.parametrize("variant", TABLES)
def test_variant_is_recognised_from_shapes_alone(variant):
    found = backends.recognise(shapes_of(variant))
    assert found.backend == "mst"
    assert found.variant == dict(VARIANTS[variant])
    assert variant in found.label


def test_published_parameter_counts():
    counts = {v: sum(torch.Size(s).numel() for s in shapes_of(v).values()) / 1e6 for v in TABLES}
    expected = {"main": 155.52, "mst-448": 201.56, "mst-224": 161.23, "mst-224-large": 464.05}
    assert counts == pytest.approx(expected, abs=5e-3)


if FULL:

    def test_a_file_in_the_authors_form_is_recognised_and_answers_as_its_weights_do():
        model = load_model(Path(FULL) / "formats" / "mst_published_form.pth", device="cpu")
        variant = {"img_size": 224, "embed_dim": 32, "depth": 12, "num_heads": 2, "head_channels": 24}
        net = backends.build("mst", {**variant, "neck_dims": [16, 16, 24, 32], "branch": "main"}).eval()
        assert model.card.variant == net.sizes.mapping()
        with np.load(Path(FULL) / "mst_small.npz") as golden:
            fill(net, json.loads(str(golden["gains"])))
        torch.manual_seed(0)
        image, clicks = torch.rand(1, 3, 224, 224), torch.tensor([[[100.0, 90, 0], [-1, -1, -1]]])
        with torch.inference_mode():
            expected = net(image, torch.zeros(1, 1, 224, 224), clicks)
        found = model.logits(image, torch.zeros(1, 1, 224, 224), clicks)
        assert torch.allclose(found, expected, atol=1e-5)
