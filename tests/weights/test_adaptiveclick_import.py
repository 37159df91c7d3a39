"""AdaptiveClick's checkpoints, pickled with objects of several packages, are imported safely."""

from __future__ import annotations

import sys
import types
from pathlib import PosixPath

import pytest
import torch

from napari_iseg import backends
from napari_iseg.backends.adaptiveclick_net import published_shapes
from napari_iseg.backends.adaptiveclick_variants import read_sizes
from napari_iseg.errors import CheckpointError
from napari_iseg.weights.importer import ImportOptions, import_file
from napari_iseg.weights.store import load_model

SIZES = {
    "img_size": 224,
    "patch_size": 16,
    "embed_dim": 32,
    "depth": 4,
    "num_heads": 4,  # 32 wide, one would guess a single head
    "neck_dims": [8, 8, 16, 16],
    "decoder_dim": 32,
    "feedforward_dim": 32,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "queries": 4,
}
ALIASES = {"adapter_1": "lateral_convs.0", "layer_1": "output_convs.0"}


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A file in the authors' form: tensors under two names, unused ones, a pickled configuration."""
    torch.manual_seed(0)
    net = backends.build("adaptiveclick", SIZES)
    state = {key: value.clone() for key, value in net.state_dict().items()}
    for alias, name in ALIASES.items():
        for part in ("0.weight", "0.bias", "1.weight", "1.bias"):
            state[f"pixel_decoder.{alias}.{part}"] = state[f"pixel_decoder.{name}.{part}"]
    state |= {"backbone.cls_token": torch.zeros(1, 1, 32), "criterion.empty_weight": torch.tensor([1.0, 0.1])}
    path = tmp_path / "adaptiveclick_small.pth"
    with monkeypatch.context() as patch:
        module = types.ModuleType("easydict")

        class EasyDict(dict):
            def __setstate__(self, state):
                raise AssertionError("code of the file was run")

        EasyDict.__module__, EasyDict.__qualname__ = "easydict", "EasyDict"
        module.EasyDict = EasyDict
        patch.setitem(sys.modules, "easydict", module)
        config = EasyDict(
            MODEL=EasyDict(BACKBONE=EasyDict(NUM_HEADS=4, PATCH_SIZE=[16, 16])),
            crop_size=(224, 224),
            device=torch.device("cuda:0"),
            LOGS_PATH=PosixPath("/somewhere/logs"),
        )
        params = {"cfg": {"type": EasyDict, "value": config, "specified": True}}
        torch.save({"state_dict": state, "config": {"class": "x.AdaptiveClickModel", "params": params}}, path)
    return path, net


def test_a_published_file_becomes_a_model_with_the_same_answers(published, store):
    path, net = published
    said = []
    card = import_file(path, store, ImportOptions(tell=said.append))
    assert (card.backend, dict(card.variant), card.names) == ("adaptiveclick", SIZES, "published")
    assert said == []  # no heads were guessed
    with pytest.raises(CheckpointError, match="states 4 attention heads, and --heads 2"):
        import_file(path, store, ImportOptions(name="other", heads=2))
    given = (torch.rand(1, 3, 224, 224), torch.zeros(1, 1, 224, 224))
    clicks = torch.tensor([[[50.0, 60.0, 0], [-1, -1, -1]]])
    with torch.inference_mode():
        expected = net.eval()(*given, clicks)
    for name in (card.name, path):
        model = load_model(name, device="cpu", precision="float32", store=store)
        assert torch.allclose(model.logits(*given, clicks), expected, atol=1e-4)


def test_another_variant_than_demanded_is_named(published, store):
    words = r"recognised as AdaptiveClick with a ViT of 4 blocks .* adaptiveclick vit-h was expected"
    with pytest.raises(CheckpointError, match=words):
        import_file(published[0], store, ImportOptions(backend="adaptiveclick", variant="vit-h"))


def test_a_file_of_an_altered_network_is_refused_with_its_differences(tmp_path, store):
    state = {key: torch.zeros(shape) for key, shape in published_shapes(read_sizes(SIZES)).items()}
    state["click_aware_decoder.extra.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "altered.pth")
    with pytest.raises(
        CheckpointError, match=r"nearest is AdaptiveClick .*unexpected click_aware_decoder\.extra"
    ):
        import_file(tmp_path / "altered.pth", store)
