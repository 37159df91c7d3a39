"""How AdaptiveClick behaves beyond the golden cases: sizes, clicks, batches, refinement, bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_iseg import backends
from napari_iseg.backends.adaptiveclick_net import published_shapes
from napari_iseg.backends.adaptiveclick_variants import read_sizes
from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.model import Model
from napari_iseg.errors import CheckpointError, InputError, ModelNotFoundError
from napari_iseg.images import PlaneSource
from napari_iseg.interactive.predictor import Predictor
from napari_iseg.nn.adaptiveclick_decoder import Prediction, blocked_places, click_maps
from napari_iseg.prompts import Click

TINY = {
    "img_size": 224,
    "patch_size": 16,
    "embed_dim": 16,
    "depth": 4,
    "num_heads": 2,
    "neck_dims": [8, 8, 16, 16],
    "decoder_dim": 32,
    "feedforward_dim": 32,
    "encoder_layers": 1,
    "decoder_layers": 3,
    "queries": 4,
}
STARTER = {"trunk": "conv", "widths": [16, 16, 16, 32], "depths": [1, 1, 1, 1], "sweeps": 2}
STARTER |= {"decoder_dim": 32, "feedforward_dim": 32, "encoder_layers": 1, "decoder_layers": 2, "queries": 4}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=[TINY, STARTER], ids=["vit", "starter"])
def net(request):
    torch.manual_seed(0)
    return backends.build("adaptiveclick", request.param).eval()


def clicks_of(positive, negative=(), batch=1):
    count = max(1, len(positive), len(negative))
    rows = torch.full((batch, 2 * count, 3), -1.0)
    for start, points in ((0, positive), (count, negative)):
        for i, (row, col) in enumerate(points):
            rows[:, start + i] = torch.tensor([row, col, i], dtype=torch.float32)
    return rows


def inputs(height, width, batch=1):
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(batch, 3, height, width, generator=generator)
    return image, torch.zeros(batch, 1, height, width), clicks_of([(20, 30.5)], [(100, 40)], batch)


@pytest.mark.parametrize("size", [(224, 224), (112, 224), (224, 448), (144, 160)])
def test_the_answer_has_the_window_s_size_and_the_state_dict_stays(net, size):
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net.prepare(*size)
    with torch.inference_mode():
        logits = net(*inputs(*size))
    assert logits.shape == (1, 1, *size)
    assert logits.dtype == torch.float32
    after = net.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], value) for key, value in before.items())


@pytest.mark.parametrize(
    ("positive", "negative"),
    [([], [(5, 5)]), ([], []), ([(3.5, 200)] * 25, [(100, 100)] * 50), ([(-40, 500)], [(1e6, 3)])],
    ids=["no positive", "none", "many", "outside"],
)
def test_any_clicks_give_a_finite_answer(net, positive, negative):
    image, mask, _ = inputs(224, 224)
    with torch.inference_mode():
        assert net(image, mask, clicks_of(positive, negative)).isfinite().all()


def test_objects_of_a_batch_do_not_mix(net):
    image, mask, _ = inputs(224, 224, batch=3)
    clicks = torch.cat([clicks_of([(20, 30)], [(5, 5)]), clicks_of([], [(99, 99)]), clicks_of([(200, 7.25)])])
    with torch.inference_mode():
        together = net(image, mask, clicks)
        apart = torch.cat([net(image[i : i + 1], mask[i : i + 1], clicks[i : i + 1]) for i in range(3)])
    assert torch.allclose(together, apart, atol=2e-4)


def test_every_weight_learns(net):
    training = backends.build("adaptiveclick", TINY if hasattr(net, "sizes") else STARTER)
    learned = training.learned(*inputs(224, 224))
    loss = learned.logits.square().mean() + sum(
        p.masks.square().mean() + p.classes.square().mean() for p in learned.predictions
    )
    (loss + (0 if learned.quality is None else learned.quality.sum())).backward()
    assert [key for key, value in training.named_parameters() if value.grad is None] == []


@pytest.mark.parametrize("shape", [(60, 40), (300, 130), (1, 1)])
def test_images_smaller_than_the_window_and_refinement_run_through_the_predictor(net, shape):
    variant = TINY if hasattr(net, "sizes") else STARTER
    card = ModelCard("tiny", "adaptiveclick", variant)
    model = Model(card, net, device="cpu", precision="float32")
    image = np.random.default_rng(0).random((*shape, 3)).astype(np.float32)
    middle = Click(shape[0] // 2, shape[1] // 2)
    inference = {"size": (224, 224), "refine_steps": 2, "refine_clicks": None}
    probability = {}
    for steps in (0, 2):
        refined = model.with_inference(**{**inference, "refine_steps": steps})
        probability[steps] = Predictor(PlaneSource.wrap(image), refined).step(None, middle).probability
        assert probability[steps].shape == shape
        assert np.isfinite(probability[steps]).all()
    if shape != (1, 1):
        assert not np.array_equal(probability[0], probability[2])


def test_published_settings_follow_the_trained_size():
    inference = backends.get("adaptiveclick").inference_for(TINY)
    assert (inference.size, inference.threshold, inference.flip) == ((224, 224), 0.49, True)


def test_sizes_off_the_grid_are_refused_with_sizes_that_fit():
    net = backends.build("adaptiveclick", TINY)
    with pytest.raises(InputError, match="450 rows; use 448 or 480"):
        net(*inputs(450, 448))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"depth": 6}, "multiple of 4"),
        ({"decoder_dim": 48}, "multiple of 32"),
        ({"feedforward_dim": 33}, "even"),
        ({"num_heads": 5}, "multiple of num_heads"),
        ({"img_size": 230}, "multiple of patch_size"),
        ({"queries": 0}, "queries must be a whole number"),
        ({"neck_dims": [8]}, "4 whole numbers"),
        ({"colour": 3}, "unknown key 'colour'"),
        ({"trunk": "conv"}, "starter"),
    ],
)
def test_variant_that_describes_no_network_is_refused(change, words):
    with pytest.raises(InputError, match=words):
        backends.build("adaptiveclick", {**TINY, **change})


def test_unknown_variant_names_the_nearest():
    with pytest.raises(ModelNotFoundError, match="vit-h"):
        backends.build("adaptiveclick", "vith")


def state_of(**changes):
    shapes = published_shapes(read_sizes({**TINY, **changes}))
    return {key: torch.zeros(shape) for key, shape in shapes.items()}


@pytest.mark.parametrize("change", [{}, {"img_size": 96, "depth": 12, "queries": 7}, {"decoder_layers": 10}])
def test_sizes_come_back_from_shapes(change):
    variant = {**TINY, **change}
    shapes = {key: tuple(value.shape) for key, value in state_of(**change).items()}
    assert backends.recognise(shapes, {"num_heads": 2}).variant == variant
    assert backends.recognise(shapes, variant).variant == variant


def test_loading_takes_the_later_name_of_a_convolution_and_ignores_the_unused():
    net, state = backends.build("adaptiveclick", TINY), state_of()
    state["pixel_decoder.lateral_convs.0.0.bias"] += 3
    state["pixel_decoder.adapter_1.0.bias"] = torch.ones(32)
    state["criterion.empty_weight"] = torch.ones(2)
    state["backbone.cls_token"] = torch.ones(1, 1, 16)
    net.load_published(state)
    assert (net.pixel_decoder.lateral_convs[0][0].bias == 3).all()


def test_another_variant_is_named_as_such():
    net = backends.build("adaptiveclick", TINY)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"is AdaptiveClick with a ViT of 8 blocks .* not .* 4 blocks"):
        net.load_published(state_of(depth=8))
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


def test_unknown_and_missing_keys_are_listed():
    net, state = backends.build("adaptiveclick", TINY), state_of()
    state["backbone.score.weight"] = torch.ones(1)
    del state["click_aware_decoder.class_embed.bias"]
    words = r"missing click_aware_decoder\.class_embed\.bias, unexpected backbone\.score\.weight"
    with pytest.raises(CheckpointError, match=words):
        net.load_published(state)
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    assert backends.recognise(shapes) is None
    label, keys = backends.differences(shapes)
    assert "AdaptiveClick" in label
    assert len(keys) == 2


def test_clicks_open_the_queries_of_the_object_only():
    masks = torch.full((1, 2, 8, 8), -5.0)
    classes = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    disks = torch.zeros(1, 1, 32, 32)
    disks[..., 4, 4] = 1
    (near,) = click_maps(disks, [(8, 8)])
    blocked = blocked_places(Prediction(classes, masks), near, (8, 8)).view(2, 8, 8)
    assert not blocked[0, 1, 1]
    assert 1 <= int((~blocked[0]).sum()) <= 9
    assert blocked[1].all()


def test_disks_are_resized_where_halving_does_not_fit():
    disks = torch.zeros(1, 1, 448, 448)
    disks[..., 220:230, 220:230] = 1
    shapes = [(16, 16), (32, 32), (64, 64)]  # of a patch of 14
    for (rows, cols), near in zip(shapes, click_maps(disks, shapes), strict=True):
        picture = near.view(rows, cols)
        assert picture[rows // 2, cols // 2]
        assert 0 < int(near.sum()) < 0.1 * rows * cols


def test_starter_starts_as_the_small_network_of_cfr_icl():
    ours = backends.build("adaptiveclick", STARTER)
    trunk = {key: STARTER[key] for key in ("trunk", "widths", "depths", "sweeps")}
    theirs = backends.build("cfr-icl", trunk).state_dict()
    own = ours.state_dict()
    assert {key: value.shape for key, value in theirs.items()}.items() <= {
        key: value.shape for key, value in own.items()
    }.items()
    trunk_net = backends.build("cfr-icl", trunk).eval()
    ours.load_state_dict({**own, **trunk_net.state_dict()})
    with torch.inference_mode():
        mine, trunks = (net(*inputs(72, 100)) for net in (ours.eval(), trunk_net))
    assert torch.equal(mine > 0, trunks > 0)  # before training the queries change nothing
    assert (mine - trunks).abs().max() < 0.3 * trunks.abs().max()


def test_reduced_precision_gives_about_the_same_answer(net):
    variant = TINY if hasattr(net, "sizes") else STARTER
    card = ModelCard("tiny", "adaptiveclick", variant)
    given = inputs(224, 224)
    exact, rough = (
        Model(card, net, device="cpu", precision=precision).logits(*given)
        for precision in ("float32", "bfloat16")
    )
    assert rough.dtype == torch.float32
    assert (exact - rough).abs().mean() < 0.1 * exact.std() + 0.02
