"""A file in the form in which MST's authors publish theirs is recognised, imported, and answers the same."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from published_form import foreign_module

from napari_iseg import backends
from napari_iseg.errors import CheckpointError
from napari_iseg.weights.importer import ImportOptions, import_file
from napari_iseg.weights.store import load_model

SIZES = {
    "img_size": 64,
    "embed_dim": 16,
    "depth": 4,
    "num_heads": 2,
    "neck_dims": [8, 8, 8, 8],
    "head_channels": 8,
    "branch": "mst-1024",
}


def write_published(path: Path, monkeypatch: pytest.MonkeyPatch) -> torch.nn.Module:
    """A state dict and a pickled configuration that refers to the authors' classes."""
    torch.manual_seed(0)
    net = backends.build("mst", SIZES).eval()
    backbone = {"img_size": (64, 64), "patch_size": (16, 16), "embed_dim": 16, "depth": 4, "num_heads": 2}
    loss = foreign_module(monkeypatch).CrossEntropyLoss()
    params = {"backbone_params": backbone, "head_params": {"channels": 8, "loss_decode": loss}}
    wrapped = {key: {"type": "builtin", "value": value, "specified": True} for key, value in params.items()}
    config = {"class": "isegm.model.is_adaptivevit_model.AdaptiveVitModel", "params": wrapped}
    torch.save({"state_dict": OrderedDict(net.state_dict()), "config": config}, path)
    monkeypatch.undo()  # the reader has no such classes
    return net


def test_a_published_file_becomes_a_model_with_the_same_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store
) -> None:
    path = tmp_path / "My MST.pth"
    net = write_published(path, monkeypatch)
    card = import_file(path, store, ImportOptions(licence="Apache-2.0"))
    assert (card.name, card.backend, card.names) == ("my-mst", "mst", "published")
    assert json.loads(json.dumps(card.variant)) == net.sizes.mapping()
    model = load_model("my-mst", store=store, device="cpu", precision="float32")
    assert model.inference.size == (64, 64)
    inputs = torch.rand(1, 3, 64, 64), torch.zeros(1, 1, 64, 64), torch.tensor([[[30.0, 40, 0], [-1] * 3]])
    with torch.inference_mode():
        assert torch.allclose(model.logits(*inputs), net(*inputs), atol=1e-5)


def test_another_branch_than_the_one_demanded_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store
) -> None:
    path = tmp_path / "weights.pth"
    write_published(path, monkeypatch)
    with pytest.raises(CheckpointError, match=r"recognised as MST mst-1024 \(1 scoring blocks\).*mst-448"):
        import_file(path, store, ImportOptions(backend="mst", variant="mst-448"))
