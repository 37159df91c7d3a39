"""IFSENet's network: encoders, matching, both paths."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from napari_iseg import backends
from napari_iseg.errors import CheckpointError, InputError, ModelNotFoundError
from napari_iseg.nn import ifsenet_match as match
from napari_iseg.nn.ifsenet import IfseNet, padded, support_log_weights
from napari_iseg.nn.ifsenet_embedding import Encoded, at_points, embed_label
from napari_iseg.nn.ifsenet_query import Condition
from napari_iseg.nn.ifsenet_support import honest

SMALL = {
    "encoder": "conv",
    "widths": (8, 16, 16, 32),
    "depths": (1, 1, 1, 1),
    "channels": 16,
    "rates": (1, 2),
}


@pytest.fixture(scope="module")
def net() -> IfseNet:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return backends.build("ifsenet", SMALL).eval()  # type: ignore[return-value]


def clicks(*rows: tuple[float, float]) -> torch.Tensor:
    array = torch.full((1, 2 * len(rows), 3), -1.0)
    for i, (row, col) in enumerate(rows):
        array[0, i] = torch.tensor([row, col, i])
    return array


@pytest.mark.parametrize(("stride", "deep"), [(8, 8), (16, 4)])
def test_a_resnet_keeps_its_stride(stride: int, deep: int) -> None:
    torch.set_num_threads(1)
    made = backends.build(
        "ifsenet", {"encoder": "resnet18", "stride": stride, "channels": 16, "rates": (1,)}
    ).eval()
    with torch.inference_mode():
        encoded = made.encode(torch.rand(1, 3, 64, 64))
    assert encoded.m.shape == (1, 16, 8, 8)
    assert encoded.f1.shape == (1, 64, 16, 16)
    assert encoded.h.shape == (1, 512, deep, deep)


def test_the_resnet_is_frozen_and_its_batch_norm_too() -> None:
    made = backends.build("ifsenet", {"encoder": "resnet18", "channels": 16, "rates": (1,)}).train()
    assert not any(p.requires_grad for p in made.encoder.parameters())
    before = made.encoder.net.bn1.running_mean.clone()
    made.encode(torch.rand(2, 3, 64, 64))
    assert torch.equal(before, made.encoder.net.bn1.running_mean)


def test_both_fusions_answer_clicks_at_any_size() -> None:
    torch.set_num_threads(1)
    for fusion in ("cached", "paper"):
        made = backends.build("ifsenet", {**SMALL, "fusion": fusion}).eval()
        with torch.inference_mode():
            logits = made(torch.rand(1, 3, 50, 71), torch.zeros(1, 1, 50, 71), clicks((20, 30)))
        assert logits.shape == (1, 1, 50, 71)


def test_cached_fusion_hears_clicks_without_another_encoding(net: IfseNet) -> None:
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        encoded = net.encode(image)
        one = net.support_logits(encoded, image, torch.zeros(1, 1, 64, 64), clicks((20, 30)))
        other = net.support_logits(encoded, image, torch.zeros(1, 1, 64, 64), clicks((50, 8)))
    assert not torch.allclose(one, other)


def test_features_do_not_know_of_clicks(net: IfseNet) -> None:
    """The comparison space is click-free: encoding is a function of the image alone."""
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        first = net.encode(image)
        net(image, torch.rand(1, 1, 64, 64), clicks((3, 3)))
        again = net.encode(image)
    assert torch.equal(first.m, again.m)
    assert torch.equal(first.h, again.h)


def test_masked_mean_is_the_mean_inside() -> None:
    features = torch.arange(8.0).view(2, 2, 2)
    share = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert torch.allclose(match.masked_mean(features, share), torch.tensor([1.0, 5.0]), atol=1e-4)
    assert torch.equal(match.masked_mean(features, torch.zeros(2, 2)), torch.zeros(2))


def encoded(cells: int, deep: int) -> Encoded:
    """Random maps of an image with ``cells`` cells of stride 8 along each side."""
    shapes = (16, cells), (16, 2 * cells), (32, deep), (15, 4 * cells)
    return Encoded(*(torch.randn(channels, side, side) for channels, side in shapes))


def test_centres_find_clusters_and_let_gradients_through() -> None:
    torch.manual_seed(0)
    corners = torch.tensor([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0]])
    rows = (corners.repeat_interleave(30, 0) + 0.1 * torch.randn(90, 2)).requires_grad_()
    found = match.centres(rows, 3)
    nearest = torch.cdist(corners, found).amin(1)
    assert (nearest < 0.2).all()
    found.sum().backward()
    assert rows.grad is not None
    assert (rows.grad != 0).all()


def test_farthest_points_are_spread_and_bounded() -> None:
    line = torch.linspace(0, 1, 3000)[:, None]
    picked = line[match.farthest(line, 5)][:, 0]
    assert len(picked) == 5
    assert picked.min() < 0.05
    assert picked.max() > 0.95


def test_the_top_mean_is_not_lit_by_one_odd_token() -> None:
    query = torch.zeros(3, 1, 1)
    query[0] = 1
    tokens = torch.eye(3)
    assert float(match.top_similarity(query, tokens)) == pytest.approx(1 / 3)
    assert float(match.top_similarity(query, tokens[:0])) == 0


def test_a_constant_map_is_stretched_to_nothing() -> None:
    assert (match.stretched(torch.full((4, 4), 3.0)) == 0).all()
    assert match.stretched(torch.tensor([[1.0, 3.0]])).tolist() == [[0.0, 1.0]]


def test_heavier_prototypes_win() -> None:
    query = torch.tensor([1.0, 1.0]).view(2, 1, 1)
    prototypes = torch.eye(2)
    plain = match.nearest_similarity(query, prototypes, torch.zeros(2))
    raised = match.nearest_similarity(query, prototypes, torch.tensor([0.0, 2.0]))
    assert float(raised - plain) == pytest.approx(0.1)


def test_support_weights_follow_reliability_likeness_and_distance() -> None:
    alike = torch.tensor([0.5, 0.5])
    assert support_log_weights([1, 1], alike, [0, 0], 0).exp().tolist() == pytest.approx([0.5, 0.5])
    assert support_log_weights([1, 0.25], alike, [0, 0], 0).exp().tolist() == pytest.approx([0.8, 0.2])
    near = support_log_weights([1, 1], alike, [0, 10], 10).exp()
    assert float(near[0] / near[1]) == pytest.approx(np.e)
    like = support_log_weights([1, 1], torch.tensor([0.6, 0.5]), [0, 0], 0).exp()
    assert float(like[0] / like[1]) == pytest.approx(np.e)


def test_points_are_sampled_where_they_lie() -> None:
    features = torch.arange(16.0).view(1, 1, 16).expand(1, 16, 16)
    found = at_points(features, torch.tensor([[60.0, 43.5]]), (128, 128))
    assert float(found) == pytest.approx((43.5 + 0.5) / 8 - 0.5)


def test_an_embedding_of_clicks_alone_uses_the_click_vector(net: IfseNet) -> None:
    one = encoded(8, 4)
    nothing = torch.zeros(64, 64)
    made = embed_label(one, nothing, nothing, torch.tensor([[9.0, 9.0]]), torch.zeros(0, 2), 16)
    assert made.present
    assert torch.equal(made.vector, made.click)
    empty = embed_label(one, nothing, nothing, torch.zeros(0, 2), torch.tensor([[9.0, 9.0]]), 16)
    assert not empty.present
    assert len(empty.background) == 1


def test_tokens_are_bounded_and_normalised() -> None:
    torch.manual_seed(0)
    inside = torch.zeros(256, 256)
    inside[:150, :150] = 1
    made = embed_label(encoded(32, 32), inside, 1 - inside, torch.zeros(0, 2), torch.zeros(0, 2), 64)
    assert made.tokens.shape == (64, 32)
    assert made.background_tokens.shape == (64, 32)
    assert torch.allclose(made.tokens.norm(dim=1), torch.ones(64), atol=1e-5)
    assert made.foreground.shape[0] <= 5
    assert made.background.shape[0] <= 16


def test_each_pair_is_answered_alone(net: IfseNet) -> None:
    """Two labels in one batch give what each gives by itself."""
    torch.manual_seed(1)
    m, f1 = torch.randn(2, 16, 8, 8), torch.randn(2, 16, 16, 16)
    pairs = [
        Condition(
            torch.randn(32),
            torch.rand(2, 8, 8),
            torch.randn(1, 8, 8),
            torch.randn(1, 32, 32),
            torch.rand(1, 32, 32),
        )
        for _ in range(2)
    ]
    with torch.inference_mode():
        both = net.query_path(m, f1, Condition.stack(pairs))
        alone = net.query_path(m[1:], f1[1:], Condition.stack(pairs[1:]))
    assert torch.allclose(both.logits[1:], alone.logits, atol=1e-4)
    assert torch.allclose(both.presence[1:], alone.presence, atol=1e-5)


def test_clicks_are_honoured_within_their_radius() -> None:
    probability = torch.full((1, 1, 20, 20), 0.5)
    array = torch.full((1, 2, 3), -1.0)
    array[0, 0], array[0, 1] = torch.tensor([5.0, 5.0, 0]), torch.tensor([5.0, 9.0, 1])
    clamped = honest(probability, array)[0, 0]
    assert clamped[5, 5] > 0.9
    assert clamped[5, 9] < 0.1
    assert clamped[15, 15] == 0.5


def test_padding_is_at_the_far_sides() -> None:
    x = torch.arange(6.0).view(1, 1, 2, 3)
    assert padded(x, 4).shape == (1, 1, 4, 4)
    assert torch.equal(padded(x, 4)[..., :2, :3], x)


@pytest.mark.parametrize(
    ("variant", "named"),
    [
        ({"encoder": "resnet50", "width": 3}, "width"),
        ({"encoder": "vgg16"}, "vgg16"),
        ({"encoder": "conv", "fusion": "early"}, "early"),
        ({"encoder": "resnet18", "stride": 4}, "stride 8 or 16"),
    ],
)
def test_variants_that_describe_no_network_are_refused(variant: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        backends.build("ifsenet", variant)


def test_unknown_names_and_published_files_are_refused(net: IfseNet) -> None:
    with pytest.raises(ModelNotFoundError, match="resnet50"):
        backends.build("ifsenet", "resnet51")
    with pytest.raises(CheckpointError, match="published"):
        net.load_published({})


def test_the_starter_loads_no_timm() -> None:
    code = (
        "import sys; from napari_iseg import backends; backends.build('ifsenet', 'starter'); "
        "sys.exit('timm' in sys.modules or 'torchvision' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
