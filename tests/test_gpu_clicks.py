"""The script that times clicks on a GPU, tried on a CPU with tiny networks."""

import importlib
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TINY = {"img_size": 64, "embed_dim": 16, "depth": 4, "num_heads": 2, "neck_dims": [8, 8, 8, 8]}
DECODER = {"decoder_dim": 32, "feedforward_dim": 32, "encoder_layers": 1, "decoder_layers": 3, "queries": 2}


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("gpu_clicks")
    for name in ("gpu_clicks", "compare"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("method", ["cfr-icl", "mst", "adaptiveclick"])
def test_every_method_is_timed(script, method):
    variant = TINY | (DECODER if method == "adaptiveclick" else {"head_channels": 8})
    row = script.measure(script.random_model(method, variant, "cpu", "float32"), clicks=2)
    assert row["ms_per_click"] > 0
    assert row["peak_memory_gb"] > 0.05


def test_vit_h_of_mst_is_the_main_branch_at_its_sizes(script):
    with torch.device("meta"):
        net = script.backends.build("mst", script.MST["vit-h"])
    assert (net.branch, net.patch, len(net.backbone.blocks)) == ("main", 14, 32)


def test_without_a_gpu_it_refuses_in_one_sentence(script, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu_clicks.py"])
    with pytest.raises(SystemExit):
        script.main()
    assert "no such GPU was found here" in capsys.readouterr().err.splitlines()[-1]
