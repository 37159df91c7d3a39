"""``segment --box``: with a small SAM of random weights in a file of its own."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
import torch

from napari_iseg import backends
from napari_iseg.weights.store import Store

TINY = {
    "embed_dim": 32,
    "depth": 1,
    "num_heads": 2,
    "global_attn_indexes": [0],
    "img_size": 64,
    "prompt_dim": 32,
    "mlp_dim": 32,
    "iou_dim": 16,
}


@pytest.fixture
def checkpoint(tmp_path):
    """A file as segment-anything writes it: a bare state dict."""
    torch.manual_seed(5)
    net = backends.build("sam", TINY)
    path = tmp_path / "my_sam.pth"
    torch.save(net.state_dict(), path)
    return path


def test_a_checkpoint_is_imported_and_answers_a_box(run, squares_file, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_ISEG_HOME", str(tmp_path / "home"))
    imported = run("models", "import", checkpoint)
    assert imported.code == 0, imported.err
    card = Store().find("my_sam")
    assert (card.backend, set(card.prompts)) == ("sam", {"click", "box"})
    assert card.variant["embed_dim"] == 32
    out = tmp_path / "mask.tif"
    kept = tmp_path / "kept"
    asked = ["segment", squares_file, "--model", "my_sam", "--box", "40,30,20,50", "-o", out, "--json"]
    asked += ["--embeddings", kept, "--embeddings-limit", "100 kB"]
    ended = run(*asked, "--threshold", "0.01")
    assert ended.code == 0, ended.err
    (found,) = json.loads(ended.out)["objects"]
    assert found["prompt_box"] == [20.0, 30.0, 40.0, 50.0]
    assert found["clicks"] == []
    assert len(list(kept.glob("*.cached.npz"))) == 1
    refused = run(*asked[:-1], "plenty", "--overwrite")
    assert refused.code == 2
    assert "--embeddings-limit 'plenty'" in refused.err
    assert found["area"] == np.count_nonzero(tifffile.imread(out)) > 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "--click ROW,COL or --box R0,C0,R1,C1"),
        (["--box", "5,5,5,20"], "has no area"),
        (["--box", "500,500,520,520"], "outside the image of 96 x 128"),
        (["--box", "1,2,3"], "--box"),
        (["--box", "1,2,8,9", "--box", "1,2,8,9", "--click", "3,3"], "is not known; give one --box"),
        (["--box", "1,2,8,9", "--each"], "--each is for clicks"),
    ],
)
def test_bad_boxes_are_refused_in_a_sentence(run, squares_file, checkpoint, options, sentence):
    ended = run("segment", squares_file, "--model", checkpoint, *options, "-o", squares_file.parent / "m.tif")
    assert ended.code == 2
    assert sentence in " ".join(ended.err.split())


def test_a_model_without_boxes_says_so(run, squares_file, bright):
    ended = run("segment", squares_file, "--model", "bright", "--box", "1,2,8,9")
    assert ended.code == 2
    assert "does not take boxes" in " ".join(ended.err.split())


def test_a_box_without_a_model_is_answered_by_the_starter(run, squares_file, squares, tmp_path):
    ended = run("segment", squares_file, "--box", "20,30,40,50", "-o", tmp_path / "mask.tif", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["model"] == "sam-starter"
    found, truth = tifffile.imread(tmp_path / "mask.tif") > 0, squares == 220
    truth[:, 60:] = False
    assert (found & truth).sum() / (found | truth).sum() > 0.8
