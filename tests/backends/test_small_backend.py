"""The backend for small objects: its network, its model, and what it is told of clicks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_iseg import backends
from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.small import Small, SmallObjectsNet
from napari_iseg.backends.small_model import SmallModel
from napari_iseg.errors import InputError, ModelNotFoundError
from napari_iseg.prompts import Click


def trained_like(seed: int = 0) -> SmallObjectsNet:
    """A network whose last layer is not zero."""
    torch.manual_seed(seed)
    net = Small().build("starter").eval()
    torch.nn.init.normal_(net.out.weight, std=0.1)
    return net


def test_variants_are_built_by_name_or_widths_and_others_refused() -> None:
    assert backends.role("small") == "small"
    assert sum(p.numel() for p in backends.build("small").parameters()) < 600_000
    with pytest.raises(ModelNotFoundError, match="starter"):
        backends.build("small", "startr")
    with pytest.raises(InputError, match="two widths"):
        backends.build("small", {"widths": (8, 8, 8)})
    shapes = {key: tuple(value.shape) for key, value in backends.build("small").state_dict().items()}
    found = backends.recognise(shapes)
    assert found is not None
    assert found.backend == "small"


def test_an_untrained_network_leaves_the_mask_as_it_is() -> None:
    net = Small().build("starter").eval()
    before = torch.rand(2, 1, 64, 64).clamp(0.01, 0.99)
    clicks = torch.tensor([[[10.0, 12.0, 0.0], [-1.0, -1.0, -1.0]]]).expand(2, 2, 3)
    with torch.no_grad():
        after = net(torch.rand(2, 3, 64, 64), torch.rand(2, 1, 64, 64), before, clicks).sigmoid()
    assert torch.allclose(after, before, atol=1e-5)


def test_it_hears_the_newest_click_its_sign_and_no_unused_rows() -> None:
    net = trained_like()
    image, before = torch.rand(1, 3, 64, 64), torch.rand(1, 1, 64, 64)

    def answer(*rows: tuple[float, float, float]) -> torch.Tensor:
        with torch.no_grad():
            return net(image, before.flip(2), before, torch.tensor([rows]))

    unused = (-1.0, -1.0, -1.0)
    first, second = (20.0, 20.0, 0.0), (40.0, 44.0, 1.0)
    both = answer(first, second, unused, unused)
    assert torch.equal(both, answer(first, second, unused, unused))
    longer = answer(first, second, unused, unused, unused, unused)
    assert torch.allclose(both, longer, atol=1e-5)
    newest = answer((20.0, 20.0, 1.0), (40.0, 44.0, 0.0), unused, unused)
    assert not torch.allclose(both, newest, atol=1e-3)
    negative = answer(first, unused, second, unused)
    assert not torch.allclose(both, negative, atol=1e-3)
    with torch.no_grad():
        begun_elsewhere = net(image, before, before, torch.tensor([[first, second, unused, unused]]))
    assert not torch.allclose(both, begun_elsewhere, atol=1e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_model_answers_with_a_probability_of_the_tile(precision) -> None:
    card = ModelCard("small", "small", "starter", prompts=())
    model = SmallModel(card, trained_like(), device="cpu", precision=precision)
    before = np.full((64, 64), 0.3, np.float32)
    found = model.probability(
        torch.rand(3, 64, 64), before.T, before, [Click(3, 4, True), Click(60, 8, False)]
    )
    assert found.shape == (64, 64)
    assert found.dtype == np.float32
    assert 0 <= found.min() < found.max() <= 1
