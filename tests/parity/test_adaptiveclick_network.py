"""AdaptiveClick's network against the published numbers; ISEG_PARITY may name the full files' folder."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from adaptiveclick_golden import (
    CUTS,
    MASKS,
    inputs,
    network,
    read,
    small_variant,
    thinned,
    whole_stages,
)

FULL = os.environ.get("ISEG_PARITY")


@pytest.fixture(scope="module", params=["reduced", "full"] if FULL else ["reduced"])
def case(request):
    """The stored arrays, our stages, and whether the arrays are thinned."""
    stored = read(Path(FULL) if request.param == "full" else None)
    net = network(small_variant(json.loads(str(stored["config"]))), str(stored["gains"]))
    return stored, whole_stages(net, *inputs(stored)), request.param == "reduced"


@pytest.mark.parametrize("name", CUTS)
def test_stage_is_the_published_one(case, name):
    stored, ours, is_thinned = case
    got = ours[name][CUTS[name]]
    got = thinned(got) if is_thinned else got
    final = name in ("instances", "pred_masks", "layer_mask_logits")
    np.testing.assert_allclose(got, stored[name], rtol=0, atol=3e-4 if final else 1e-4)


@pytest.mark.parametrize("name", [*MASKS, "click_maps"])
def test_masks_agree_bit_by_bit(case, name):
    stored, ours, _ = case
    assert ours[name].shape == tuple(stored[f"{name}_shape"])
    np.testing.assert_array_equal(np.packbits(ours[name]), stored[f"{name}_packed"])


def test_a_wrong_order_of_levels_would_be_seen(case):
    stored, _, _ = case
    net = network(small_variant(json.loads(str(stored["config"]))), str(stored["gains"]))
    right = net(*(part[:1] for part in inputs(stored)))
    net.click_aware_decoder.register_forward_pre_hook(lambda _m, args: (args[0][::-1], *args[1:]))
    wrong = net(*(part[:1] for part in inputs(stored)))
    assert (right - wrong).abs().max() > 1


if FULL:

    @pytest.fixture(scope="module")
    def vit_b():
        with np.load(Path(FULL) / "adaptiveclick_vit_b_448.npz") as archive:
            stored = dict(archive)
        return stored, network("vit-b", str(stored["gains"]))

    def test_vit_b_is_the_published_one_in_every_stage(vit_b):
        stored, net = vit_b
        ours = whole_stages(net, *inputs(stored))
        for i, name in enumerate(stored["stage_names"].tolist()):
            got = ours[name].reshape(-1)
            assert list(ours[name].shape) == json.loads(stored["stage_shapes"][i])
            places = np.rint(np.linspace(0, got.size - 1, 64)).astype(int)
            scale = max(1.0, float(stored["stage_stats"][i, 2]))
            np.testing.assert_allclose(
                got[places], stored["stage_samples"][i], rtol=0, atol=1e-4 * scale, err_msg=name
            )
        np.testing.assert_allclose(
            ours["layer_class_logits"], stored["layer_class_logits"], rtol=0, atol=1e-4
        )
        np.testing.assert_allclose(ours["pred_masks"][..., ::2, ::2], stored["pred_masks"], rtol=0, atol=1e-3)
        np.testing.assert_allclose(ours["instances"], stored["instances"], rtol=0, atol=1e-3)

    def test_vit_b_at_672_uses_the_resized_positions(vit_b):
        stored, net = vit_b
        with np.load(Path(FULL) / "adaptiveclick_image_672.npz") as archive:
            image = torch.from_numpy(archive["image"]).permute(0, 3, 1, 2) / 255
        with torch.inference_mode():
            net.prepare(672, 672)
            table = net.backbone.positions((42, 42))
            got = net(image, torch.zeros(1, 1, 672, 672), torch.from_numpy(stored["points_672"]))
        stored_table = stored["pos_embed_672"][:, 1:]  # the first is the class token's
        np.testing.assert_allclose(table[:, 31::32, ::8], stored_table, rtol=0, atol=1e-4)
        np.testing.assert_allclose(got[..., ::4, ::4], stored["instances_672"], rtol=0, atol=1e-3)
