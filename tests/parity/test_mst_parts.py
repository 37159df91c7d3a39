"""Parts of MST against the published code's numbers: kernels, scoring, losses and their gradients."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fill import fill

from napari_iseg import backends
from napari_iseg.backends.mst_variants import RULES
from napari_iseg.nn.mst import click_cells
from napari_iseg.nn.mst_score import ScoreBlock, Selection
from napari_iseg.nn.mst_tokens import FlexiPatchEmbed, position_tables, resized_positions
from napari_iseg.training.losses import normalised_focal_loss
from napari_iseg.training.mst_losses import score_loss, token_loss

DATA = Path(__file__).parent / "data"
FULL = os.environ.get("ISEG_PARITY")
FOLDERS = [pytest.param((DATA, False), id="reduced")]
FOLDERS += [pytest.param((Path(FULL), True), id="full")] if FULL else []
BRANCHES = {"main": "mst_scoreblock", "mst-224": "mst_scoreblock_mst_224"}
BLOCKS = [pytest.param((DATA, *item), id=f"reduced-{item[0]}") for item in BRANCHES.items()]
if FULL:
    every = {**BRANCHES, "mst-448": "mst_scoreblock_mst_448"}
    BLOCKS += [pytest.param((Path(FULL), *item), id=f"full-{item[0]}") for item in every.items()]


def load(folder, name):
    with np.load(folder / f"{name}.npz") as archive:
        return dict(archive)


@pytest.mark.parametrize("source", FOLDERS)
def test_kernels_and_positions_are_the_published_ones(source):
    golden = load(source[0], "mst_patch_embed")
    embed = FlexiPatchEmbed(3, 4, 16)
    fill(embed, {})
    image = torch.from_numpy(golden["input"]).float()
    with torch.inference_mode():
        for patch in (8, 28, 32) if source[1] else (8, 32):
            np.testing.assert_allclose(embed.kernel(patch), golden[f"kernel{patch}"], rtol=0, atol=2e-6)
        for patch in (8, 16, 32):
            got = embed.at(image, patch)[0]
            np.testing.assert_allclose(got, golden[f"tokens{patch}"], rtol=0, atol=2e-5)
    table = torch.from_numpy(golden["pos_embed"])
    for side in (7, 14, 21, 28):
        (got,) = position_tables(table, (14, 14), (14, 14), [(side, side)])
        np.testing.assert_allclose(got, golden[f"pos_embed_{side}"][:, 1:], rtol=0, atol=2e-6)
    plain = resized_positions(table[:, 1:], (14, 14), (28, 28), antialias=False)
    np.testing.assert_allclose(plain, golden["pos_embed_28_no_antialias"], rtol=0, atol=2e-6)
    assert np.abs(plain.numpy() - golden["pos_embed_28"][:, 1:]).max() > 1e-3  # antialias is no detail


@pytest.mark.parametrize("source", BLOCKS)
def test_score_block_is_the_published_one(source):
    folder, branch, name = source
    golden, full = load(folder, name), folder != DATA
    block = ScoreBlock(48, RULES[branch]).eval()
    fill(block, json.loads(str(golden["gains"])))
    base, fine = torch.from_numpy(golden["x_b"]), torch.from_numpy(golden["x_s"])
    cells = click_cells(torch.from_numpy(golden["points"]), (14, 14), 16)
    if full:
        published = golden["idx"][:, : cells.shape[1]]
        np.testing.assert_array_equal(cells, np.where(published < 0, -1, published))
    places, clicked = torch.zeros(1, fine.shape[1], 48), (cells >= 0).any(1)
    with torch.inference_mode():
        context, kernel = block.context(base, (14, 14)), block.kernel(base, cells)
        for kind, name in (("s", "small"), ("l", "large")):
            fresh = block.refresh(fine, context, kind)
            chosen = block.select(fresh, kernel, clicked, places)
            stored = golden[f"{name}/kernel"].reshape(kernel.shape)
            np.testing.assert_allclose(kernel, stored, rtol=0, atol=1e-6)
            np.testing.assert_allclose(chosen.scores, golden[f"{name}/scores"], rtol=0, atol=2e-6)
            kept = fresh[:, ::16] if full else fresh
            np.testing.assert_allclose(kept, golden[f"{name}/x_s"], rtol=0, atol=2e-5)
            if full:
                np.testing.assert_array_equal(chosen.index, golden[f"{name}/index"])
                np.testing.assert_allclose(chosen.tokens[:, ::4], golden[f"{name}/tokens"], rtol=0, atol=2e-5)
                used = chosen.tokens.abs().sum(-1) > 0
                np.testing.assert_array_equal(used, golden[f"{name}/selected_sum"] > 0)


def stored_choice(golden):
    """Selections of the two stored blocks, and their tensors by the stored gradients' names."""
    chosen, leaves = [], {}
    for block in ("block0", "block1"):
        pair = []
        for kind in "sl":
            parts = {
                part: torch.from_numpy(golden[f"{block}/{part}_{kind}"])
                for part in ("kernel", "pos_scores", "idx_tokens", "sel_tokens")
            }
            for part in ("kernel", "pos_scores", "sel_tokens"):
                leaves[f"{block}/{part}_{kind}"] = parts[part].requires_grad_()
            kernel = parts["kernel"][:, 0]
            pair.append(Selection(kernel, parts["pos_scores"], parts["idx_tokens"], parts["sel_tokens"]))
        chosen.append(tuple(pair))
    return chosen, leaves


LOSSES = [
    pytest.param((DATA, "mst_loss", False), id="reduced-main"),
    pytest.param((DATA, "mst_loss_mst_224", True), id="reduced-mst-224"),
]
if FULL:
    LOSSES += [
        pytest.param((Path(FULL), name, late), id=f"full-{name}")
        for name, late in (("mst_loss", False), ("mst_loss_mst_448", False), ("mst_loss_mst_224", True))
    ]


@pytest.mark.parametrize("source", LOSSES)
def test_losses_and_their_gradients_are_the_published_ones(source):
    folder, name, late = source
    golden = load(folder, name)
    chosen, leaves = stored_choice(golden)
    truth = torch.from_numpy(golden["gt"]).float()
    token = token_loss(chosen, truth, 16, published=True, late=late)
    score = score_loss(chosen, truth, 16, squared=late, published=True)
    assert token.item() == pytest.approx(float(golden["token_loss"]), rel=1e-4)
    assert score.item() == pytest.approx(float(golden["score_loss"]), rel=1e-4)
    step = 8 if folder == DATA else 1
    for loss, prefix in ((token, "token_grad/"), (score, "score_grad/")):
        for leaf in leaves.values():
            leaf.grad = None
        loss.backward()
        for key, expected in golden.items():
            if key.startswith(prefix):
                got = leaves[key.removeprefix(prefix)].grad[..., ::step]
                np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    unclicked = torch.tensor([[0.0], [1.0]])
    silent = [
        tuple(replace(part, scores=part.scores.detach() * unclicked) for part in pair) for pair in chosen
    ]
    found = score_loss(silent, truth, 16, squared=late, published=True)
    assert found.item() == pytest.approx(float(golden["score_loss_sample0_unclicked"]), rel=1e-4)


if FULL:

    def test_whole_objective_has_the_published_gradients():
        golden = load(Path(FULL), "mst_end_to_end_loss")
        c = json.loads(str(golden["config"]))
        variant = {"img_size": c["img"], "embed_dim": c["dim"], "depth": c["depth"], "num_heads": c["heads"]}
        variant |= {"neck_dims": c["out"], "head_channels": c["ch"], "branch": "main"}
        net = backends.build("mst", variant).eval()  # the golden numbers are without dropout
        fill(net, json.loads(str(golden["gains"])))
        image = torch.from_numpy(golden["image"]).permute(0, 3, 1, 2) / 255
        truth = torch.from_numpy(golden["gt"]).float()
        out = net.detailed(image, torch.zeros_like(image[:, :1]), torch.from_numpy(golden["points"]))
        losses = [
            normalised_focal_loss(out.logits, truth).mean(),
            token_loss(out.chosen, truth, 16, published=True),
            score_loss(out.chosen, truth, 16, published=True),
        ]
        np.testing.assert_allclose([loss.item() for loss in losses], golden["losses"], rtol=1e-4)
        torch.stack(losses).sum().backward()
        gradients = {name: p.grad for name, p in net.named_parameters()}
        norms = [float(gradients[name].norm()) for name in json.loads(str(golden["grad_names"]))]
        np.testing.assert_allclose(norms, golden["grad_norms"], rtol=1e-3, atol=1e-8)
