"""How MST behaves beyond the golden cases: branches, sizes, clicks, caches, gradients, wrong checkpoints."""

import pytest
import torch

from napari_iseg import backends
from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.model import Model
from napari_iseg.backends.mst_variants import VARIANTS, published_shapes, read_sizes
from napari_iseg.errors import CheckpointError, InputError
from napari_iseg.images import PlaneSource
from napari_iseg.interactive.predictor import Predictor
from napari_iseg.nn.derived import Derived
from napari_iseg.nn.mst import click_cells, within
from napari_iseg.nn.mst_tokens import FlexiPatchEmbed
from napari_iseg.prompts import Click

TINY = {
    "img_size": 128,
    "embed_dim": 48,
    "depth": 12,
    "num_heads": 2,
    "neck_dims": [8, 8, 8, 8],
    "head_channels": 8,
}
BRANCHES = ("main", "mst-448", "mst-224", "mst-224-6s", "mst-224-large", "mst-1024")


pytestmark = pytest.mark.usefixtures("one_thread")


def network(branch="main", **changes):
    torch.manual_seed(0)
    return backends.build("mst", {**TINY, "branch": branch, **changes}).eval()


def inputs(height, width, clicks=((20, 30.5, 1), (100, 40, 0)), batch=1):
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(batch, 3, height, width, generator=generator)
    half = max(1, len(clicks))
    points = torch.full((2 * half, 3), -1.0)
    for i, (row, col, positive) in enumerate(clicks):
        points[i if positive else half + i] = torch.tensor([row, col, i])
    return image, torch.zeros(batch, 1, height, width), points[None].repeat(batch, 1, 1)


@pytest.mark.parametrize("branch", BRANCHES)
def test_every_branch_answers_and_comes_back_from_its_shapes(branch):
    net = network(branch)
    with torch.inference_mode():
        assert net(*inputs(128, 128)).shape == (1, 1, 128, 128)
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    assert shapes == published_shapes(net.sizes)
    found = backends.recognise(shapes, {"num_heads": 2})
    assert (found.backend, found.variant) == ("mst", net.sizes.mapping())


def test_published_branches_have_their_scoring_blocks():
    assert {name: read_sizes(v).scoring for name, v in VARIANTS.items()} == {
        "main": (3, 7, 11),
        "mst-448": (3, 7, 11),
        "mst-224": (0, 4, 8),
        "mst-224-6s": (0, 2, 4, 6, 8, 10),
        "mst-224-large": (0, 8, 16),
        "mst-1024": (0, 4, 8),
    }
    backend = backends.get_click("mst")
    assert [backend.inference_for(name).size[0] for name in VARIANTS] == [448, 448, 224, 224, 224, 1024]
    assert backend.inference.zoom_min_side == 20


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"branch": "slim"}, "main, mst-448"),
        ({"upsample": "x2"}, "only be 'x1'"),
        ({"patch_size": 5}, "even"),
        ({"img_size": 144}, "twice patch_size"),
        ({"embed_dim": 50}, "multiple of the heads of main's token refresh, 4"),
        ({"scoring": [3, 12]}, "from 0 to 11"),
        ({"colour": 1}, "unknown key 'colour'"),
    ],
)
def test_variant_that_describes_no_network_is_refused(change, words):
    with pytest.raises(InputError, match=words):
        backends.build("mst", {**TINY, **change})


@pytest.mark.parametrize("size", [(64, 64), (128, 192), (96, 160)])
def test_other_and_oblong_sizes_leave_the_state_dict_as_it_is(size):
    net = network()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net.prepare(*size)
    with torch.inference_mode():
        assert net(*inputs(*size, clicks=((20, 30, 1),))).shape == (1, 1, *size)
    after = net.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


@pytest.mark.parametrize(
    ("size", "words"), [((130, 128), "130 rows; use 128 or 160"), ((128, 32), "32 columns; use 64")]
)
def test_size_off_the_grid_is_refused_with_sizes_that_fit(size, words):
    with pytest.raises(InputError, match=words):
        network()(*inputs(*size))


def test_clicks_outside_the_window_count_for_nothing():
    net = network()
    inside = ((20, 30.5, 1), (100, 40, 0))
    outside = [(-1, 40, 1), (128, 5, 1), (30, 128.0, 1), (-50, 200, 0), (60, -3, 1), (1e6, 1e6, 1)]
    with torch.inference_mode():
        expected = net(*inputs(128, 128, inside))
        assert torch.equal(net(*inputs(128, 128, (*inside, *outside))), expected)
        nothing = net(*inputs(128, 128, ()))
        assert torch.equal(net(*inputs(128, 128, outside)), nothing)
    edge = within(torch.tensor([[[-0.6, 127.9, 0.0], [-1, -1, -1]]]), 128, 128)
    assert click_cells(edge, (8, 8), 16).tolist() == [[7]]  # mirrored clicks lie up to a pixel outside


def test_only_positive_clicks_choose_tokens_and_two_in_one_cell_count_twice():
    clicks = torch.tensor([[[20.0, 33, 0], [21, 35, 1], [-1, -1, -1], [90, 90, 2], [-1, -1, -1], [5, 5, 3]]])
    assert click_cells(clicks, (8, 8), 16).tolist() == [[10, 10, -1]]


@pytest.mark.parametrize("branch", ["main", "mst-224"])
def test_a_batch_of_clicked_and_unclicked_samples_is_each_on_its_own(branch):
    net = network(branch)
    image, mask, clicks = inputs(128, 128, batch=3)
    clicks[1] = -1
    clicks[2, 0] = torch.tensor([90.0, 100, 0])
    with torch.inference_mode():
        together = net.detailed(image, mask, clicks)
        apart = [net(image[i : i + 1], mask[i : i + 1], clicks[i : i + 1]) for i in range(3)]
    assert torch.allclose(together.logits, torch.cat(apart), atol=1e-4)
    small, large = together.chosen[0]
    assert not small.scores[1].any()
    assert not large.tokens[1].any()
    assert small.scores[0].min() >= 0
    assert small.tokens[2].any()


def test_fifty_clicks_and_an_image_smaller_than_the_window_work_in_the_predictor():
    net = network("main")
    model = Model(ModelCard("tiny", "mst", net.sizes.mapping()), net, device="cpu")
    assert model.inference.size == (128, 128)
    model = model.with_inference(refine_steps=1, refine_clicks=None)  # CFR on top of it
    source = PlaneSource.wrap(torch.rand(40, 56, 3, generator=torch.Generator().manual_seed(2)).numpy())
    predictor, state = Predictor(source, model, context=None), None
    for i in range(3):
        state = predictor.step(state, Click(5 + 10 * i, 7 * i, i != 1))
    assert state.probability.shape == (40, 56)
    many = tuple((3 + 2 * i, 120 - 2 * i, i % 3 != 0) for i in range(50))
    with torch.inference_mode():
        assert net(*inputs(128, 128, many)).isfinite().all()


def test_kernels_and_tables_are_made_once_and_follow_the_weights(monkeypatch):
    made = []
    real = FlexiPatchEmbed._resampled
    monkeypatch.setattr(
        FlexiPatchEmbed, "_resampled", lambda self, *args: made.append(args[1]) or real(self, *args)
    )
    net = network()
    with torch.inference_mode():
        net.prepare(128, 128)
        tables = net.backbone.positions((8, 8))
        first = net(*inputs(128, 128))
        net(*inputs(128, 128))
        assert made == [8, 32]
        assert all(a is b for a, b in zip(tables, net.backbone.positions((8, 8)), strict=True))
    with torch.no_grad():
        net.backbone.patch_embed.proj.weight.mul_(1.5)
    with torch.inference_mode():
        assert not torch.equal(net(*inputs(128, 128)), first)
    assert made == [8, 32, 8, 32]


def test_derived_results_are_few_and_carry_gradients_while_learning():
    weight, derived = torch.nn.Parameter(torch.ones(2)), Derived(most=2)
    with torch.no_grad():
        first = derived.get("a", weight, lambda w: w * 2)
        assert derived.get("a", weight, lambda w: w * 2) is first
        for key in "bcd":
            derived.get(key, weight, lambda w: w * 2)
        assert derived.get("a", weight, lambda w: w * 2) is not first
    assert derived.get("a", weight, lambda w: w * 2).requires_grad


def test_an_enlarged_patch_sees_an_enlarged_picture_as_the_whole_patch_saw_the_small_one():
    torch.manual_seed(0)
    embed, image = FlexiPatchEmbed(3, 4, 16), torch.rand(1, 3, 16, 16)
    large = torch.nn.functional.interpolate(image, size=(32, 32), mode="bicubic", antialias=True)
    with torch.inference_mode():
        assert torch.allclose(embed.at(large, 32), embed(image), atol=1e-4)


@pytest.mark.parametrize("branch", ["main", "mst-448", "mst-224", "mst-224-large"])
def test_gradients_reach_every_weight_and_the_scores_of_kept_tokens(branch):
    net = network(branch, quality=True).train()
    with torch.no_grad():  # factors that start at 0 would hold gradients back
        for name, value in net.named_parameters():
            if name.endswith((".gamma", ".gamma2")):
                value.fill_(1.0)
    out = net.detailed(*inputs(128, 128))
    scores = [pair[0].scores for pair in out.chosen]
    for score in scores:
        score.retain_grad()
    (out.logits.square().mean() + out.quality.square().mean()).backward()
    assert [name for name, value in net.named_parameters() if value.grad is None] == []
    chosen = out.chosen[0][0]
    kept = chosen.index[0][chosen.tokens[0].any(1)]
    learning = scores[0].grad[0].nonzero()[:, 0]
    assert set(learning.tolist()) <= set(kept.tolist())
    assert len(learning)


def test_quality_is_what_the_network_scores_itself_with():
    net = network(quality=True)
    with torch.inference_mode():
        logits, quality = net.scored(*inputs(128, 128, batch=2))
        plain = network().scored(*inputs(128, 128, batch=2))[1]
    assert logits.shape == (2, 1, 128, 128)
    assert quality.shape == plain.shape == (2,)
    assert ((quality > 0) & (quality < 1)).all()
    assert not torch.equal(quality, plain)


def state_of(branch):
    sizes = read_sizes({**TINY, "branch": branch})
    return {key: torch.zeros(shape) for key, shape in published_shapes(sizes).items()}


def test_a_checkpoint_of_another_branch_is_named_with_what_to_pass():
    with torch.device("meta"):
        net = backends.build("mst", "mst-224")
    shapes = published_shapes(read_sizes(VARIANTS["mst-224-6s"]))
    six = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    with pytest.raises(CheckpointError, match=r"mst-224, 6 scoring blocks.*pass variant='mst-224-6s'"):
        net.load_published(six)
    with pytest.raises(CheckpointError, match=r"is MST mst-448 .*pass variant=\{'img_size': 128"):
        network("main").load_published(state_of("mst-448"))


def test_unknown_keys_are_listed_and_the_network_stays_as_it_was():
    net, state = network(), state_of("main")
    before = {key: value.clone() for key, value in net.state_dict().items()}
    state["backbone.blocks.3.score.gate.weight"] = torch.ones(1)
    with pytest.raises(CheckpointError, match=r"unexpected backbone\.blocks\.3\.score\.gate\.weight"):
        net.load_published(state)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    del state["backbone.blocks.3.score.gate.weight"]
    net.load_published(state)
    assert not net.head.conv_seg.weight.any()


def test_a_cfr_icl_checkpoint_is_no_mst_and_the_other_way_round():
    shapes = published_shapes(read_sizes(TINY))
    assert backends.get("cfr-icl").recognise(shapes) is None
    plain = {key: shape for key, shape in shapes.items() if "score" not in key and "gamma" not in key}
    assert backends.get("mst").recognise(plain) is None
    del shapes["backbone.blocks.7.norm6.bias"]
    label, keys = backends.differences(shapes)
    assert label.startswith("MST main")
    assert keys == ["missing backbone.blocks.7.norm6.bias"]
