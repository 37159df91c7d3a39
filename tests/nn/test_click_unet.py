"""The starter network and its click distances."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from napari_iseg.nn.click_unet import ClickUNet, Guidance
from napari_iseg.nn.geodesic import FAR, GeodesicDistance, appearance, euclidean


def clicks(*rows: tuple[float, float], negative: tuple[tuple[float, float], ...] = ()) -> torch.Tensor:
    count = max(1, len(rows), len(negative))
    array = torch.full((1, 2 * count, 3), -1.0)
    for i, (row, col) in enumerate(rows):
        array[0, i] = torch.tensor([row, col, i])
    for i, (row, col) in enumerate(negative):
        array[0, count + i] = torch.tensor([row, col, i])
    return array


def test_euclidean_distance_equals_the_exact_transform() -> None:
    seeds = np.ones((20, 30), bool)
    seeds[4, 7] = seeds[15, 22] = False
    ours = euclidean(clicks((4, 7), (15, 22)), 20, 30, 1)[0]
    assert np.allclose(ours, distance_transform_edt(seeds), atol=1e-4)


def test_without_a_click_everything_is_far() -> None:
    none = torch.full((1, 2, 3), -1.0)
    assert (euclidean(none, 8, 8, 1) == FAR).all()
    assert (appearance(torch.rand(1, 3, 8, 8), none, 1) == FAR).all()


def test_geodesic_distance_goes_around_a_wall() -> None:
    image = torch.zeros(1, 1, 21, 21)
    image[0, 0, :18, 10] = 5.0  # a wall with a gap at the bottom
    seeds = torch.full((1, 1, 21, 21), FAR)
    seeds[0, 0, 2, 2] = 0
    distance = GeodesicDistance(sweeps=80, spatial=0.1)(image, seeds)[0, 0]
    straight = 16 * 0.1
    assert distance[2, 18] > 2 * straight  # behind the wall, although near
    assert distance[2, 18] < 5.0  # but not across it
    assert distance[2, 8] == pytest.approx(0.6, abs=1e-5)


def test_appearance_is_zero_under_the_click_and_grows_with_colour() -> None:
    image = torch.zeros(1, 3, 8, 8)
    image[..., 4:] = 1.0
    distance = appearance(image, clicks((3, 1)), 1)[0]
    assert torch.allclose(distance[:, :4], torch.zeros(8, 4), atol=1e-3)
    assert torch.allclose(distance[:, 4:], torch.full((8, 4), 3.0).sqrt(), atol=1e-3)


def test_guidance_does_not_depend_on_the_order_of_clicks_or_padding() -> None:
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    one = clicks((5, 6), (20, 9), negative=((1, 30),))
    other = torch.full((1, 8, 3), -1.0)
    other[0, :2] = one[0, [1, 0]]
    other[0, 4] = one[0, 2]
    assert torch.allclose(Guidance(8)(image, one), Guidance(8)(image, other), atol=2e-3)


@pytest.mark.parametrize("size", [(32, 32), (33, 50), (1, 1), (16, 130)])
def test_any_size_gives_logits_of_that_size(size: tuple[int, int]) -> None:
    net = ClickUNet((16, 16, 16, 32), (1, 1, 1, 1), 4).eval()
    with torch.no_grad():
        logits, quality = net.scored(
            torch.rand(2, 3, *size), torch.zeros(2, 1, *size), clicks((0, 0)).repeat(2, 1, 1)
        )
    assert logits.shape == (2, 1, *size)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()
    assert ((quality >= 0) & (quality <= 1)).all()


def test_a_constant_image_is_no_trouble() -> None:
    net = ClickUNet((16, 16, 16, 32), (1, 1, 1, 1), 4).eval()
    with torch.no_grad():
        logits = net(torch.zeros(1, 3, 32, 32), torch.zeros(1, 1, 32, 32), clicks((3, 3)))
    assert logits.isfinite().all()


def test_a_click_loads_neither_timm_nor_triton() -> None:
    """Triton's LLVM beside Mesa's crashes a viewer that draws in software."""
    code = (
        "import sys, numpy as np, napari_iseg as iseg\n"
        "session = iseg.Session(np.zeros((40, 40)), iseg.load_model('cfr-icl-starter', device='cpu'))\n"
        "session.click((5, 5))\n"
        "print([name for name in ('timm', 'torchvision', 'triton', 'torch._dynamo') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_sign_without_clicks_has_the_maps_of_clicks_far_away_alone_or_beside_others() -> None:
    image = torch.rand(2, 3, 64, 48, generator=torch.Generator().manual_seed(3))
    clicks = torch.full((2, 4, 3), -1.0)
    clicks[:, 0] = torch.tensor([20.0, 30.0, 0.0])
    clicks[1, 2] = torch.tensor([50.0, 10.0, 1.0])
    guidance = Guidance()
    both = guidance(image, clicks)
    alone = guidance(image[:1], clicks[:1])
    assert both.shape == (2, 12, 32, 24)
    torch.testing.assert_close(alone[0], both[0], atol=1e-3, rtol=0)
    assert not alone[0, [4, 5, 6, 7, 9, 11]].any()
    assert both[1, [4, 5, 6, 7, 9, 11]].flatten(1).any(1).all()
    assert not guidance(image, torch.full((2, 4, 3), -1.0)).any()
