"""A clicked support is first looked at small, as a whole, and click by click."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from few_shot_scenes import tiny_model
from scipy import ndimage
from torch import Tensor

from napari_iseg.fewshot.base import UNKNOWN, Support
from napari_iseg.fewshot.first_look import SIDE, FirstLook
from napari_iseg.fewshot.learned import LearnedModel
from napari_iseg.fewshot.models import load_fewshot
from napari_iseg.nn.ifsenet import padded
from napari_iseg.prompts import Click, click_array


class Fake:
    """Answers where the clicks are; remembers what it was asked."""

    divisor = 8

    def __init__(self) -> None:
        self.encoded: list[Tensor] = []
        self.clicks: list[Tensor] = []
        self.previous: list[Tensor] = []

    def encode(self, image: Tensor) -> Tensor:
        self.encoded.append(image)
        return image

    def support_logits(self, encoded: Tensor, image: Tensor, previous: Tensor, clicks: Tensor) -> Tensor:
        assert encoded.shape == image.shape
        self.clicks.append(clicks)
        self.previous.append(previous)
        logits = torch.full_like(previous, -9.0)
        row, col = clicks[0, 0, :2].round().long()
        logits[0, 0, row - 4 : row + 5, col - 4 : col + 5] = 9.0
        return logits


def rows_of(clicks: list[Click]) -> Tensor:
    return torch.from_numpy(click_array(clicks))[None]


def asked(at: tuple[float, float]) -> Tensor:
    return rows_of([Click(*at)])


def test_a_small_image_is_looked_at_as_it_is() -> None:
    fake, image = Fake(), torch.zeros(1, 3, SIDE, 40)
    mask = FirstLook(fake).mask(image, lambda: image, b"x", asked((5, 5)))
    assert mask.shape == (1, 1, SIDE, 40)
    assert mask[0, 0, 5, 5] > 0.99
    assert not fake.encoded


def test_clicks_and_masks_keep_their_place() -> None:
    fake, image = Fake(), torch.zeros(1, 3, 4 * SIDE, 2 * SIDE)
    mask = FirstLook(fake).mask(image, lambda: image, b"x", asked((801.5, 200.0)))
    assert fake.encoded[0].shape == (1, 3, SIDE, SIDE // 2)
    assert fake.clicks[0][0, 0].tolist() == [200.0, (200.5 / 4) - 0.5, 0.0]
    assert (fake.clicks[0][0, 1:, 2] == -1).all()
    rows, cols = np.nonzero(mask[0, 0].numpy() > 0.5)
    assert mask.shape == (1, 1, 4 * SIDE, 2 * SIDE)
    assert abs(rows.mean() - 801.5) < 1
    assert abs(cols.mean() - 201.5) < 1  # the nearest whole pixel of the reduced image


def test_clicks_are_made_one_after_the_other_each_with_the_mask_before() -> None:
    fake, image = Fake(), torch.zeros(1, 3, 40, 40)
    clicks = [Click(10, 10), Click(30, 30, False), Click(10, 30)]
    look = FirstLook(fake)
    whole = look.mask(image, lambda: image, b"x", rows_of(clicks))
    counts = [int((seen[..., 2] >= 0).sum()) for seen in fake.clicks]
    assert counts == [1, 2, 3]
    assert not fake.previous[0].any()
    assert fake.previous[1][0, 0, 10, 10] > 0.99
    # one click more is one pass more, and the same as from the beginning
    more = look.mask(image, lambda: image, b"x", rows_of([*clicks, Click(5, 5)]))
    assert len(fake.clicks) == 4
    assert torch.equal(
        more, FirstLook(Fake()).mask(image, lambda: image, b"x", rows_of([*clicks, Click(5, 5)]))
    )
    # an earlier click that is gone, or another image, begins anew
    look.mask(image, lambda: image, b"x", rows_of(clicks[1:]))
    look.mask(image, lambda: image, b"y", rows_of(clicks))
    assert len(fake.clicks) == 4 + 2 + 3
    assert torch.equal(look.mask(image, lambda: image, b"x", rows_of(clicks)), whole)


def test_a_reduced_image_is_encoded_once_and_few_are_kept() -> None:
    fake = Fake()
    look, image = FirstLook(fake), torch.zeros(1, 3, 2 * SIDE, 2 * SIDE)
    for row in range(40, 43):
        look.mask(image, lambda: image, b"same", asked((row, 40)))
    assert len(fake.encoded) == 1
    for number in range(9):
        look.mask(image, lambda: image, bytes([number]), asked((40, 40)))
    look.mask(image, lambda: image, b"same", asked((50, 40)))
    assert len(fake.encoded) == 11


def test_a_further_click_on_a_large_support_encodes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(eager=0.0)
    image = np.random.default_rng(0).random((400, 330, 3), np.float32)
    features = model.encode(image)
    calls = []
    encode = type(model.net).encode
    monkeypatch.setattr(type(model.net), "encode", lambda net, x: calls.append(x.shape) or encode(net, x))
    unknown = np.full((400, 330), UNKNOWN, np.int32)
    one = Support("a", image, unknown, ((1, Click(200, 100)),))
    answer = model.segment_support(one, features, [1])
    assert answer.probability.shape == (2, 400, 330)
    two = Support("a", image, unknown, ((1, Click(200, 100)), (1, Click(30, 30, False))), version=1)
    model.segment_support(two, features, [1])
    assert len(calls) == 1


def test_the_starter_finds_more_of_an_object_larger_than_it_was_trained_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = load_fewshot("ifsenet-starter")
    assert isinstance(model, LearnedModel)
    rng = np.random.default_rng(0)
    rows, cols = np.indices((900, 900))
    inside = np.hypot(rows - 450, (cols - 470) * 0.8) < 300
    texture = ndimage.zoom(rng.normal(0, 1, (22, 22)), 900 / 22, order=3)
    grey = np.where(inside, 0.66 + 0.07 * texture, 0.4) + rng.normal(0, 0.06, (900, 900))
    image = np.repeat(np.clip(grey, 0, 1).astype(np.float32)[..., None], 3, 2)
    pixels = padded(torch.from_numpy(image.transpose(2, 0, 1))[None], model.divisor)
    points = torch.from_numpy(click_array([Click(450, 470)]))[None]
    ious = []
    for side in (SIDE, 5000):  # 5000: no image is large
        monkeypatch.setattr("napari_iseg.fewshot.first_look.SIDE", side)
        with torch.inference_mode():
            found = FirstLook(model.net).mask(pixels, lambda: model.net.encode(pixels), b"", points)
        mask = found[0, 0, :900, :900].numpy() > 0.5
        ious.append((mask & inside).sum() / (mask | inside).sum())
    assert ious[0] > ious[1] + 0.02
