"""Key names and shapes of the published MST branches."""

import json
from pathlib import Path

import pytest
import torch

from napari_iseg import backends
from napari_iseg.backends.mst_variants import VARIANTS, published_shapes, read_sizes

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
