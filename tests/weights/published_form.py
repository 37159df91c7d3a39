"""Small files in the form in which the field publishes its checkpoints."""

from __future__ import annotations

import sys
import types
from collections import OrderedDict

import pytest
import torch

from napari_iseg import backends

SIZES = {
    "img_size": 224,
    "patch_size": 16,
    "embed_dim": 16,
    "depth": 4,
    "num_heads": 2,
    "neck_dims": [8, 8, 8, 8],
    "upsample": "x1",
    "head_channels": 8,
}


def published_state(sizes: dict | None = None) -> OrderedDict:
    """Random weights under the authors' names, with the entries that they keep and never use."""
    torch.manual_seed(0)
    net = backends.build("cfr-icl", sizes or SIZES)
    names = net.published_names()
    state = OrderedDict((names[key], value.clone()) for key, value in net.state_dict().items())
    state["backbone.cls_token"] = torch.zeros(1, 1, 16)
    state["backbone.fc_norm.weight"] = torch.ones(16)
    state["backbone.head.weight"] = torch.zeros(10, 16)
    return state


def foreign_module(monkeypatch: pytest.MonkeyPatch):
    """Classes of the authors' package, as far as a pickle refers to them."""
    name = "isegm.model.modeling.transformer_helper.cross_entropy_loss"
    module = types.ModuleType(name)

    def cross_entropy():
        raise AssertionError("code of the file was run")

    class CrossEntropyLoss(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.use_sigmoid = False
            self.cls_criterion = cross_entropy

        def __setstate__(self, state):
            raise AssertionError("code of the file was run")

    for thing in (cross_entropy, CrossEntropyLoss):
        thing.__module__, thing.__qualname__ = name, thing.__name__
        setattr(module, thing.__name__, thing)
    for end in range(1, name.count(".") + 2):
        parent = ".".join(name.split(".")[:end])
        monkeypatch.setitem(sys.modules, parent, module if parent == name else types.ModuleType(parent))
    return module


def _entry(value):
    return {"type": "builtin", "value": value, "specified": True}


def published_config(module) -> dict:
    return {
        "class": "isegm.model.is_plainvit_model.PlainVitModel",
        "params": {
            "use_disks": _entry(True),
            "backbone_params": _entry(
                {"img_size": (224, 224), "patch_size": (16, 16), "embed_dim": 16, "depth": 4, "num_heads": 2}
            ),
            "neck_params": _entry({"in_dim": 16, "out_dims": [8, 8, 8, 8]}),
            "head_params": _entry(
                {"upsample": "x1", "channels": 8, "loss_decode": module.CrossEntropyLoss()}
            ),
        },
    }
