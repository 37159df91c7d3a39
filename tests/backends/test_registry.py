"""Finding a backend, building its networks, and recognising its checkpoints."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from napari_iseg import backends
from napari_iseg.backends.adaptiveclick_variants import read_sizes as read_adaptiveclick_sizes
from napari_iseg.backends.cfr_icl_variants import published_shapes, read_sizes
from napari_iseg.backends.mst_variants import read_sizes as read_mst_sizes
from napari_iseg.backends.sam_variants import read_sizes as read_sam_sizes
from napari_iseg.errors import CheckpointError, InputError, ModelNotFoundError

TINY = {
    "img_size": 64,
    "patch_size": 16,
    "embed_dim": 32,
    "depth": 4,
    "num_heads": 2,
    "neck_dims": [8, 8, 16, 16],
    "upsample": "x1",
    "head_channels": 8,
}


def state_of(**changes):
    shapes = published_shapes(read_sizes({**TINY, **changes}))
    return {key: torch.zeros(shape) for key, shape in shapes.items()}


def test_listing_backends_and_cards_loads_no_torch():
    code = (
        "import sys; from napari_iseg import backends; from napari_iseg.backends import cards; "
        "assert 'cfr-icl' in backends.BACKENDS; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_backend_names_the_nearest():
    with pytest.raises(ModelNotFoundError, match="cfr-icl"):
        backends.get("cfricl")


@pytest.mark.parametrize("name", [None, 3, ["cfr-icl"]], ids=repr)
def test_a_backend_is_asked_for_by_its_name(name):
    for call in (backends.get, backends.get_click, backends.build):
        with pytest.raises(
            InputError, match=r"A backend is a name \(cfr-icl, .*\), got " + re.escape(repr(name))
        ):
            call(name)


def test_unknown_variant_names_the_nearest():
    with pytest.raises(ModelNotFoundError, match="vit-b"):
        backends.build("cfr-icl", "vitb")


@pytest.mark.parametrize("name", backends.BACKENDS)
@pytest.mark.parametrize("variant", [3, ["vit-b"], 1.5, b"vit-b"], ids=repr)
def test_a_variant_is_a_name_or_a_mapping(name, variant):
    with pytest.raises(
        InputError, match=rf"is a name \(.*\) or a mapping of its sizes, got {re.escape(repr(variant))}"
    ):
        backends.build(name, variant)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"depth": 6}, "multiple of 4"),
        ({"num_heads": 5}, "multiple of num_heads"),
        ({"img_size": 70}, "multiple of patch_size"),
        ({"img_size": 16}, "two patches"),
        ({"img_size": (64, 16)}, "two patches"),
        ({"trunk": "resnet"}, "trunk must be 'vit' or 'conv', got 'resnet'"),
        ({"trunk": ["conv"]}, "trunk must be"),
        ({"upsample": "x3"}, "x1, x2, x4"),
        ({"neck_dims": [8, 8]}, "4 whole numbers"),
        ({"embed_dim": 0}, "from 1 on"),
        ({"embed_dim": True}, "from 1 on"),
        ({"neck_dims": np.array([8.0, 8.0, 16.0, 16.0])}, "from 1 on"),
        ({"neck_dims": "8888"}, "4 whole numbers"),
        ({"img_size": None}, r"img_size must be a whole number or two, \(rows, cols\), got None"),
        ({"img_size": 64.0}, "img_size must be a whole number or two.*got 64.0"),
        ({"img_size": [64, 64, 3]}, "whole number or two"),
        ({"img_size": (64, 0)}, "from 1 on"),
        ({"patch_size": (16, 8)}, r"patch_size must be a whole number or two equal ones, got \(16, 8\)"),
        ({"patch_size": [16]}, "two equal ones"),
        ({"width": 3}, "unknown key 'width'"),
    ],
)
def test_variant_that_describes_no_network_is_refused(change, words):
    with pytest.raises(InputError, match=words):
        backends.build("cfr-icl", {**TINY, **change})


@pytest.mark.parametrize("name", backends.BACKENDS)
@pytest.mark.parametrize("base", [{}, {"encoder": "conv"}, {"trunk": "conv"}], ids=repr)
def test_keys_of_a_variant_may_be_anything_and_are_refused(name, base):
    for keys in ({1: 2, "zz": 3}, {None: 2, "a": 1}):
        with pytest.raises(InputError):
            backends.build(name, {**base, **keys})


def test_sizes_may_be_pairs_as_published_and_numbers_of_numpy():
    given = {
        key: np.int64(value) if isinstance(value, int) else np.array(value) if key == "neck_dims" else value
        for key, value in TINY.items()
    }
    for changes in ({}, {"img_size": (64, 64), "patch_size": (16, 16)}, {"patch_size": np.array([16, 16])}):
        sizes = read_sizes({**given, **changes})
        assert json.loads(json.dumps(sizes.mapping())) == TINY  # plain numbers, for a card
    backends.build("cfr-icl", {**TINY, "img_size": (64, 64), "patch_size": (16, 16)})


def test_the_other_backends_take_numbers_of_numpy_too():
    mst = read_mst_sizes({**TINY, "embed_dim": np.int64(48), "num_heads": 4, "scoring": np.array([1, 3])})
    assert json.loads(json.dumps(mst.mapping()))["scoring"] == [1, 3]
    sizes = {"embed_dim": np.int64(32), "depth": 2, "num_heads": 2, "global_attn_indexes": np.array([1])}
    assert json.loads(json.dumps(read_sam_sizes(sizes).mapping()))["global_attn_indexes"] == [1]
    clicked = {**TINY, "patch_size": (16, 16), "decoder_dim": np.int64(32), "queries": np.int64(4)}
    del clicked["upsample"], clicked["head_channels"]
    assert json.loads(json.dumps(read_adaptiveclick_sizes(clicked).mapping()))["queries"] == 4
    edges = backends.build("is5net", {"in_channels": np.int64(4), "width": np.float32(0.0625)})
    assert edges.in_channels == 4
    for name, change in (("mst", {"branch": []}), ("is5net", {"in_channels": [5]})):
        with pytest.raises(InputError, match="must be one of"):
            backends.build(name, change)


def test_missing_sizes_are_named():
    with pytest.raises(InputError, match="lacks depth, num_heads"):
        backends.build("cfr-icl", {"embed_dim": 32, "neck_dims": [8, 8, 8, 8]})


@pytest.mark.parametrize("upsample", ["x1", "x2", "x4"])
@pytest.mark.parametrize("depth", [8, 12])
def test_sizes_come_back_from_shapes(upsample, depth):
    variant = {**TINY, "upsample": upsample, "depth": depth, "img_size": 48}
    shapes = published_shapes(read_sizes(variant))
    found = backends.recognise(shapes, {"num_heads": 2})
    assert found.variant == variant


def test_heads_follow_the_hint_then_the_width():
    shapes = published_shapes(read_sizes({**TINY, "embed_dim": 128}))
    assert backends.recognise(shapes, {"num_heads": 4}).variant["num_heads"] == 4
    assert backends.recognise(shapes).variant["num_heads"] == 2
    assert backends.recognise(shapes, {"num_heads": 5}).variant["num_heads"] == 2


def test_grid_that_is_not_square_needs_the_hint():
    shapes = published_shapes(read_sizes({**TINY, "img_size": [32, 48]}))
    assert backends.recognise(shapes) is None
    assert backends.recognise(shapes, {"img_size": (32, 48), "num_heads": 2}).variant["img_size"] == [32, 48]


def test_foreign_checkpoint_is_not_recognised_and_the_nearest_is_named():
    shapes = published_shapes(read_sizes(TINY))
    del shapes["neck.down_16.0.bias"]
    shapes["backbone.score.weight"] = (3, 3)
    assert backends.recognise(shapes) is None
    label, keys = backends.differences(shapes)
    assert keys == ["missing neck.down_16.0.bias", "unexpected backbone.score.weight"]
    assert "CFR-ICL" in label


@pytest.mark.parametrize("shapes", [{}, {"x": (1,)}, {"patch_embed_coords.proj.weight": (3,)}])
def test_nonsense_is_compared_with_a_named_variant(shapes):
    assert backends.recognise(shapes) is None
    label, keys = backends.differences(shapes)
    assert "vit-" in label
    assert len(keys) > 100


def test_a_method_without_published_checkpoints_is_nearest_to_no_foreign_file(monkeypatch):
    class Own:
        def recognise(self, shapes, hints=None):
            return None

        def differences(self, shapes):
            return None

    monkeypatch.setattr(sys.modules[__name__], "Own", Own, raising=False)
    homes = {name: backends.BACKENDS.home(name) for name in backends.BACKENDS}
    monkeypatch.setattr(backends, "BACKENDS", backends._Backends({"own": f"{__name__}:Own", **homes}))
    test_nonsense_is_compared_with_a_named_variant({"x": (1,)})


def test_loading_takes_the_weights_and_ignores_the_unused():
    net, state = backends.build("cfr-icl", TINY), state_of()
    state["head.conv_seg.bias"] += 3
    state["backbone.cls_token"] = torch.ones(1, 1, 32)
    state["backbone.head.weight"] = torch.ones(1000, 32)
    state["head.up_conv1.0.weight"] = torch.ones(8, 4, 2, 2)
    net.load_published(state)
    assert net.head.conv_seg.bias.item() == 3
    assert set(net.state_dict()) == set(state_of())


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda s: s.pop("neck.down_8.3.weight"), "missing neck.down_8.3.weight"),
        (lambda s: s.update({"extra.weight": torch.ones(1)}), "unexpected extra.weight"),
        (lambda s: s.update({"head.conv_seg.bias": torch.ones(2)}), "head.conv_seg.bias is 2 instead of 1"),
        (
            lambda s: s.update({"backbone.pos_embed": torch.ones(1, 5, 32)}),
            "pos_embed is 1 x 5 x 32 instead of",
        ),
    ],
)
def test_checkpoint_that_does_not_fit_is_refused_with_its_first_difference(spoil, words):
    net, state = backends.build("cfr-icl", TINY), state_of()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    spoil(state)
    with pytest.raises(CheckpointError, match=words):
        net.load_published(state)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


def test_up_conv_is_no_unused_weight_where_the_head_upsamples():
    state = state_of(upsample="x2")
    del state["head.up_conv1.0.bias"]
    with pytest.raises(CheckpointError, match=r"missing head\.up_conv1\.0\.bias"):
        backends.build("cfr-icl", {**TINY, "upsample": "x2"}).load_published(state)


def test_published_settings_follow_the_trained_size():
    backend = backends.get("cfr-icl")
    assert backend.inference_for("vit-b").size == (448, 448)
    assert backend.inference_for(TINY).size == (64, 64)
    assert backend.inference_for("vit-b").threshold == 0.49


def test_starter_variant_builds_the_convolutional_network():
    net = backends.build(
        "cfr-icl", {"trunk": "conv", "widths": [8, 8, 16, 32], "depths": [1, 1, 1, 1], "sweeps": 2}
    )
    with torch.inference_mode():
        out = net(
            torch.rand(1, 3, 40, 56), torch.zeros(1, 1, 40, 56), torch.tensor([[[9.0, 9, 0], [-1, -1, -1]]])
        )
    assert out.shape == (1, 1, 40, 56)
    with pytest.raises(InputError, match="starter"):
        backends.build("cfr-icl", {"trunk": "conv", "colour": 3})
