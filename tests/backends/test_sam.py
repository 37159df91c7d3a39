"""Segment Anything: the package's own network under our contract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_iseg import backends
from napari_iseg.backends.base import Recognition
from napari_iseg.backends.embeddings import EmbeddingCache, content_key
from napari_iseg.backends.sam_net import SamNet, best
from napari_iseg.backends.sam_variants import VARIANTS, published_shapes, read_sizes
from napari_iseg.disk_cache import DiskCache
from napari_iseg.errors import CheckpointError, InputError, ModelNotFoundError
from napari_iseg.nn.square_frame import SquareFrame

TINY = {
    "embed_dim": 32,
    "depth": 2,
    "num_heads": 2,
    "global_attn_indexes": [1],
    "img_size": 64,
    "window_size": 2,
    "prompt_dim": 32,
    "mlp_dim": 32,
    "iou_dim": 16,
}


@pytest.fixture(scope="module")
def net() -> SamNet:
    torch.manual_seed(0)
    net = backends.get("sam").build(TINY)
    for table in net.image_encoder.modules():  # zeros in a fresh network, which would hide them
        if hasattr(table, "rel_pos_h"):
            torch.nn.init.normal_(table.rel_pos_h)
            torch.nn.init.normal_(table.rel_pos_w)
    return net.eval()


def predictor_of(net: SamNet):
    """The package's own predictor on the same modules."""
    from segment_anything import SamPredictor
    from segment_anything.modeling import Sam

    mean, std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    return SamPredictor(Sam(net.image_encoder, net.prompt_encoder, net.mask_decoder, mean, std).eval())


@pytest.mark.parametrize("shape", [(64, 64), (64, 40), (90, 128)])
def test_our_way_through_the_network_is_the_package_s(net: SamNet, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (*shape, 3), np.uint8)
    if shape == (90, 128):  # is resized, by PIL in whole grey values there and in floats here
        pixels = np.repeat(np.repeat(pixels[:45, :64], 2, 0), 2, 1)
    theirs = predictor_of(net)
    theirs.set_image(pixels)
    xy, labels = np.array([[10.0, 20.0], [30.0, 5.0]]), np.array([1, 0])
    box, memory = np.array([5.0, 6.0, 33.0, 40.0]), rng.normal(size=(1, 16, 16)).astype(np.float32)
    frame = SquareFrame(*shape, 64)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    close = 0.05 if shape == (90, 128) else 1e-5
    with torch.inference_mode():
        embedding = net.encode(frame.picture(image))
        points = frame.points(torch.tensor([[[20.0, 10.0], [5.0, 30.0]]]))
        corners = frame.points(torch.tensor([[[6.0, 5.0], [40.0, 33.0]]])).reshape(1, 4)
        signs, fed = torch.tensor([[1, 0]]), torch.from_numpy(memory)[None]
        for several in (True, False):
            want = theirs.predict(xy, labels, multimask_output=several, return_logits=True)
            logits, quality = net.decode(embedding, points, signs, several=several)
            assert np.allclose(frame.restored(logits)[0], want[0], atol=close)
            assert np.allclose(quality[0], want[1], atol=close)
        want = theirs.predict(xy, labels, box, memory, multimask_output=False, return_logits=True)
        logits, _ = net.decode(embedding, points, signs, corners, fed)
        assert np.allclose(frame.restored(logits)[0], want[0], atol=close)
        want = theirs.predict(None, None, box, multimask_output=False, return_logits=True)
        logits, _ = net.decode(embedding, points[:, :0], signs[:, :0], corners)
        assert np.allclose(logits[0], want[2], atol=close)


def test_a_batch_is_answered_as_its_parts_are(net: SamNet) -> None:
    torch.manual_seed(2)
    with torch.inference_mode():
        embedding, points = net.encode(torch.rand(3, 3, 64, 64)), 64 * torch.rand(3, 2, 2)
        signs, memory = torch.tensor([[1, 0], [1, 1], [1, -1]]), torch.randn(3, 1, 16, 16)
        together = net.decode(embedding, points, signs, None, memory, several=True)
        for i in range(3):
            part = slice(i, i + 1)
            alone = net.decode(embedding[part], points[part], signs[part], None, memory[part], several=True)
            assert torch.allclose(together[0][part], alone[0], atol=1e-4)
            assert torch.allclose(together[1][part], alone[1], atol=1e-5)


def test_the_common_contract_answers_clicks_in_any_size(net: SamNet) -> None:
    clicks = torch.full((2, 4, 3), -1.0)
    clicks[0, 0] = torch.tensor([3.0, 4.0, 0.0])
    clicks[1, 0], clicks[1, 2] = torch.tensor([3.0, 4.0, 0.0]), torch.tensor([9.0, 1.0, 1.0])
    mask = torch.zeros(2, 1, 30, 20)
    mask[1, :, 5:10] = 1.0
    with torch.inference_mode():
        logits, quality = net.scored(torch.rand(2, 3, 30, 20), mask, clicks)
        none = net(torch.rand(1, 3, 30, 20), mask[:1], torch.full((1, 2, 3), -1.0))
    assert logits.shape == (2, 1, 30, 20)
    assert quality.shape == (2,)
    assert logits.isfinite().all()
    assert none.isfinite().all()


def test_the_best_of_several_is_by_expected_quality() -> None:
    logits = torch.arange(6.0).reshape(2, 3, 1, 1)
    found, quality = best(logits, torch.tensor([[0.1, 0.7, 0.3], [0.9, 0.2, 0.8]]))
    assert found.flatten().tolist() == [1.0, 3.0]
    assert quality.tolist() == pytest.approx([0.7, 0.9])


def test_the_table_of_shapes_is_the_network_s_and_leads_back_to_its_sizes(net: SamNet) -> None:
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    assert published_shapes(net.sizes) == shapes
    found = backends.recognise(shapes | {"pixel_mean": (3, 1, 1)})
    assert found is not None
    assert found.backend == "sam"
    assert read_sizes(found.variant) == net.sizes
    assert net.published_names() == {key: key for key in shapes}


@pytest.mark.parametrize(
    ("name", "count", "parameters"),
    [("vit-b", 314, 93_735_472), ("vit-l", 482, 312_342_832), ("vit-h", 594, 641_090_608)],
)
def test_published_files_are_recognised_by_their_shapes(name: str, count: int, parameters: int) -> None:
    shapes = published_shapes(read_sizes(VARIANTS[name]))
    assert len(shapes) == count
    gaussian = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"  # a buffer
    assert sum(int(np.prod(shape)) for key, shape in shapes.items() if key != gaussian) == parameters
    assert backends.recognise(shapes) == Recognition("sam", dict(VARIANTS[name]), f"SAM {name}")


def test_the_package_s_spelling_of_variants_is_understood() -> None:
    with pytest.raises(ModelNotFoundError, match="vit-b"):
        backends.get("sam").build("vit_x")
    assert backends.get_click("sam").inference_for("vit_b").size == (1024, 1024)
    assert backends.get_click("sam").inference_for("starter").size == (192, 192)


def test_a_changed_decoder_is_named(net: SamNet) -> None:
    """HQ-SAM adds a token, MobileSAM has another encoder."""
    shapes = published_shapes(net.sizes)
    label, wrong = backends.differences(shapes | {"mask_decoder.hf_token.weight": (1, 32)})
    assert label.startswith("SAM")
    assert wrong == ["unexpected mask_decoder.hf_token.weight"]
    state = net.state_dict()
    del state["mask_decoder.iou_token.weight"]
    with pytest.raises(CheckpointError, match=r"missing mask_decoder\.iou_token\.weight"):
        net.load_published(state)


def test_a_state_dict_goes_in_and_comes_out(net: SamNet) -> None:
    other = backends.get("sam").build(TINY)
    other.load_published(net.state_dict() | {"pixel_mean": torch.zeros(3, 1, 1)})
    assert all(
        torch.equal(a, b) for a, b in zip(other.state_dict().values(), net.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"img_size": 70}, "multiple of patch_size"),
        ({"num_heads": 5}, "multiple of num_heads"),
        ({"prompt_dim": 24}, "multiple of 16"),
        ({"global_attn_indexes": [2]}, "blocks 0 to 1"),
        ({"global_attn_indexes": 2}, "list of block numbers"),
        ({"depth": 0}, "depth must be a whole number"),
        ({"width": 3}, "unknown key 'width'"),
    ],
)
def test_a_bad_variant_is_refused(change: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        backends.build("sam", TINY | change)


def test_embeddings_are_dropped_above_the_limit_but_the_newest_stays() -> None:
    cache = EmbeddingCache(memory=1000)
    for name in "abc":
        cache.put(name, torch.full((100,), float(ord(name))))
    assert cache.nbytes == 800
    assert cache.get("a") is None
    assert cache.get("b") is not None
    cache.put("d", torch.zeros(1000))
    assert cache.get("b") is None
    assert cache.get("d") is not None


def test_embeddings_on_disk_are_found_by_another_cache_of_the_same_network(tmp_path: Path) -> None:
    one, disk = torch.rand(1, 4, 2, 2), DiskCache(tmp_path)
    EmbeddingCache(disk=disk, owner="net-").put("k", one)
    found = EmbeddingCache(disk=disk, owner="net-").get("k")
    assert found is not None
    assert torch.equal(found, one)
    assert EmbeddingCache(disk=disk, owner="other-").get("k") is None
    assert EmbeddingCache().get("k") is None


def test_pictures_of_equal_bytes_and_other_shape_have_other_keys() -> None:
    picture = torch.rand(1, 3, 4, 6)
    assert content_key(picture) == content_key(picture.clone())
    assert content_key(picture) != content_key(picture.reshape(1, 3, 6, 4))


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (33, 7), (1024, 768)])
def test_a_frame_of_any_shape_goes_there_and_back(shape: tuple[int, int]) -> None:
    frame = SquareFrame(*shape, 64)
    assert max(frame.size) == 64
    assert frame.picture(torch.rand(1, 3, *shape)).shape[-2:] == frame.size
    low = frame.reduced(torch.full((1, 1, *shape), 3.0), 16)
    assert low.shape == (1, 1, 16, 16)
    back = frame.restored(low)
    assert back.shape == (1, 1, *shape)
    assert (back[0, 0, 0, 0] > 0) == (shape != (1, 500))  # a row of a sixteenth of a pixel is lost
