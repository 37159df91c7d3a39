"""Key names and shapes of all four published variants."""

import json
from pathlib import Path

import pytest
import torch

from napari_iseg import backends
from napari_iseg.backends.cfr_icl_variants import UNUSED, VARIANTS, published_shapes, read_sizes

TABLES = json.loads((Path(__file__).parent / "data" / "cfr_icl_keys.json").read_text())


def shapes_of(variant):
    return {key: tuple(shape) for key, shape in TABLES[variant].items()}


def used(shapes):
    return {key: shape for key, shape in shapes.items() if not UNUSED.fullmatch(key)}


@pytest.mark.parametrize("variant", TABLES)
def test_own_keys_are_the_published_keys_that_are_used(variant):
    with torch.device("meta"):
        net = backends.build("cfr-icl", variant=variant)
    own = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    assert own == used(shapes_of(variant))
    assert own == published_shapes(read_sizes(VARIANTS[variant]))
    assert net.published_names() == {key: key for key in own}


@pytest.mark.parametrize("variant", TABLES)
def test_published_file_loads_strictly(variant):
    with torch.device("meta"):
        net = backends.build("cfr-icl", variant=variant)
    state = {key: torch.empty(shape, device="meta") for key, shape in shapes_of(variant).items()}
    net.load_published(state)
    assert net.backbone.pos_embed.shape == state["backbone.pos_embed"].shape


@pytest.mark.parametrize("variant", TABLES)
def test_variant_is_recognised_from_shapes_alone(variant):
    found = backends.recognise(shapes_of(variant))
    assert found.backend == "cfr-icl"
    assert found.variant == dict(VARIANTS[variant])
    assert variant in found.label


def test_published_parameter_count():
    assert sum(torch.Size(shape).numel() for shape in shapes_of("vit-b").values()) == pytest.approx(
        98.03e6, rel=1e-4
    )
