"""The small SAM with the starters' encoder, behind the contract of the large ones."""

from __future__ import annotations

import pytest
import torch

from napari_iseg import backends
from napari_iseg.backends.sam_conv import SamConvNet
from napari_iseg.backends.sam_variants import read_conv_sizes
from napari_iseg.errors import CheckpointError, InputError

SMALL = {"encoder": "conv", "img_size": 64, "prompt_dim": 80, "mlp_dim": 32, "iou_dim": 16}


@pytest.fixture(scope="module")
def net() -> SamConvNet:
    torch.manual_seed(0)
    made = backends.get("sam").build(SMALL)
    assert isinstance(made, SamConvNet)
    return made.eval()


def prompts(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(2)
    boxes = torch.tensor([[5.0, 6.0, 40.0, 50.0], [20.0, 3.0, 60.0, 30.0], [1.0, 1.0, 20.0, 60.0]])
    return (
        64 * torch.rand(count, 2, 2),
        torch.tensor([[1, 0], [1, 1], [1, -1]])[:count],
        boxes[:count],
        torch.randn(count, 1, 32, 32),
    )


def test_a_batch_is_answered_as_its_parts_are(net: SamConvNet) -> None:
    points, signs, boxes, memory = prompts(3)
    with torch.inference_mode():
        embedding = net.encode(torch.rand(3, 3, 64, 64))
        together = net.decode(embedding, points, signs, boxes, memory, several=True)
        assert together[0].shape == (3, 3, 32, 32)
        assert together[1].shape == (3, 3)
        for i in range(3):
            part = slice(i, i + 1)
            alone = net.decode(
                embedding[part], points[part], signs[part], boxes[part], memory[part], several=True
            )
            assert torch.allclose(together[0][part], alone[0], atol=1e-3)
            assert torch.allclose(together[1][part], alone[1], atol=1e-4)


def test_pictures_that_are_no_squares_are_padded(net: SamConvNet) -> None:
    picture = torch.rand(1, 3, 64, 40)
    squared = torch.nn.functional.pad(picture, (0, 24, 0, 0), value=0.5)
    with torch.inference_mode():
        assert torch.equal(net.encode(picture), net.encode(squared))


def test_every_kind_of_prompt_is_answered_alone(net: SamConvNet) -> None:
    points, signs, boxes, memory = prompts(1)
    none, unsigned = points[:, :0], signs[:, :0]
    with torch.inference_mode():
        embedding = net.encode(torch.rand(1, 3, 64, 64))
        answers = [
            net.decode(embedding, points, signs)[0],
            net.decode(embedding, none, unsigned, boxes)[0],
            net.decode(embedding, points, signs, boxes)[0],
            net.decode(embedding, points, signs, None, memory)[0],
        ]
    assert all(answer.isfinite().all() for answer in answers)
    assert all(not torch.allclose(a, b) for i, a in enumerate(answers) for b in answers[:i])


def test_untrained_it_already_knows_where_the_box_is(net: SamConvNet) -> None:
    with torch.inference_mode():
        embedding = net.encode(torch.rand(1, 3, 64, 64))
        box = torch.tensor([[16.0, 8.0, 48.0, 40.0]])
        logits, _ = net.decode(embedding, torch.zeros(1, 0, 2), torch.zeros(1, 0), box)
    inside = logits[0, 0, 4:20, 8:24].mean()
    assert inside > logits[0, 0, 24:].mean() + 1


def test_the_click_contract_holds(net: SamConvNet) -> None:
    clicks = torch.full((2, 4, 3), -1.0)
    clicks[:, 0] = torch.tensor([3.0, 4.0, 0.0])
    with torch.inference_mode():
        logits, quality = net.scored(torch.rand(2, 3, 30, 20), torch.zeros(2, 1, 30, 20), clicks)
    assert logits.shape == (2, 1, 30, 20)
    assert quality.shape == (2,)


def test_a_few_shot_starter_s_encoder_fits() -> None:
    theirs = backends.get("ifsenet").build("starter").state_dict()
    own = backends.get("sam").build("starter").state_dict()
    shared = {key for key, value in own.items() if key in theirs and theirs[key].shape == value.shape}
    assert {key for key in own if key.startswith(("encoder.", "middle."))} <= shared


def test_wrong_sizes_and_published_files_are_refused(net: SamConvNet) -> None:
    with pytest.raises(InputError, match="unknown key 'depth'"):
        read_conv_sizes({"encoder": "conv", "depth": 3})
    with pytest.raises(InputError, match="multiple of 32"):
        read_conv_sizes({"encoder": "conv", "img_size": 100})
    with pytest.raises(InputError, match="multiple of 16 above 64"):
        read_conv_sizes({"encoder": "conv", "prompt_dim": 64})
    with pytest.raises(CheckpointError, match="no published checkpoint"):
        net.load_published({})
