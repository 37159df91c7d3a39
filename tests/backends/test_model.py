"""The model that answers: device, precision, settings."""

import numpy as np
import pytest
import torch
from torch import nn

from napari_iseg import backends
from napari_iseg.backends.base import ClickNet, Inference
from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.model import Model
from napari_iseg.errors import DeviceError, InputError


class Spy(ClickNet):
    """Answers with a weight times the mask, and notes how it was called."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 1)
        self.prepared, self.seen = [], []

    def prepare(self, height, width):
        self.prepared.append((height, width))

    def forward(self, image, prev_mask, clicks):
        self.seen.append((image.dtype, torch.is_inference_mode_enabled()))
        return self.conv(image) + prev_mask


def card(**changes):
    return ModelCard(**{"name": "spy", "backend": "cfr-icl", "variant": "vit-xtiny", **changes})


def inputs(side=32, dtype=torch.float32):
    return (
        torch.rand(2, 3, side, side, dtype=dtype),
        torch.ones(2, 1, side, side),
        torch.full((2, 2, 3), -1.0),
    )


def test_answers_in_float32_on_the_cpu_and_prepares_a_size_once():
    net = Spy().train()
    model = Model(card(), net, device="cpu", precision="float32")
    for side in (32, 32, 48, 32):
        logits = model.logits(*inputs(side, torch.float64))
    assert (logits.dtype, logits.device.type, logits.shape) == (torch.float32, "cpu", (2, 1, 32, 32))
    assert net.prepared == [(32, 32), (48, 48)]
    assert set(net.seen) == {(torch.float32, True)}
    assert not net.training


@pytest.mark.parametrize(("unit", "wanted"), [(True, "bfloat16"), (False, "float32")])
def test_auto_takes_what_the_cpu_is_fast_in(monkeypatch, unit, wanted):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: unit)
    assert Model(card(), Spy(), device="cpu").precision == wanted
    assert Model(card(), Spy(), device="cpu", precision="float32").precision == "float32"
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")
    assert Model(card(), Spy(), device="cpu").precision == "float32"


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_low_precision_answers_in_float32_and_close(precision):
    torch.manual_seed(0)
    exact = backends.build(
        "cfr-icl", {"img_size": 32, "embed_dim": 16, "depth": 4, "num_heads": 2, "neck_dims": [8] * 4}
    )
    given = inputs()
    want = Model(card(), exact, device="cpu", precision="float32").logits(*given)
    got = Model(card(), exact, device="cpu", precision=precision).logits(*given)
    assert got.dtype == torch.float32
    assert 0 < (got - want).abs().max() < 0.1


def test_scored_is_certainty_of_the_object_without_a_head_for_it():
    net = Spy()
    nn.init.zeros_(net.conv.weight)
    nn.init.constant_(net.conv.bias, 4.0)
    logits, score = Model(card(), net, device="cpu").scored(*inputs())
    assert torch.equal(logits, torch.full((2, 1, 32, 32), 5.0))
    assert torch.allclose(score, torch.full((2,), 2 * torch.tensor(5.0).sigmoid().item() - 1))


def test_settings_are_the_backends_then_the_cards_then_the_callers():
    model = Model(card(inference={"refine_steps": 2, "size": [96, 96]}), Spy(), device="cpu")
    assert model.inference == Inference(refine_steps=2, size=(96, 96))
    other = model.with_inference(flip=False)
    assert (other.inference.flip, other.inference.refine_steps, model.inference.flip) == (False, 2, True)
    assert other.net is model.net
    assert Model(card(), Spy(), device="cpu", inference=Inference(flip=False)).inference.flip is False
    with pytest.raises(InputError, match="refine_steps"):
        model.with_inference(refine_step=1)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"size": 64}, r"size must be two whole numbers of at least 1, \(rows, cols\), got 64"),
        ({"size": [0, 0]}, "size must be two whole"),
        ({"size": [128]}, "size must be two whole"),
        ({"refine_steps": -1}, "refine_steps must be a whole number from 0 on, got -1"),
        ({"refine_clicks": 1.5}, "refine_clicks must be a whole number from 0 on, or None"),
        ({"threshold": 5}, "threshold must be a number from 0 to 1"),
        ({"threshold": True}, "threshold must be a number"),
        ({"zoom_expand": float("nan")}, "zoom_expand must be a number from 0 on"),
        ({"flip": "no"}, "flip must be True or False"),
        ({"window": 3}, "window must be text"),
        ({"search_sides": ["x"]}, "search_sides must be numbers above 0"),
        ({"search_sides": 32}, "search_sides must be numbers above 0"),
    ],
)
def test_settings_that_cannot_be_are_refused_on_a_card_and_from_a_caller(options, sentence):
    with pytest.raises(InputError, match=sentence):
        Model(card(inference=options), Spy(), device="cpu")
    with pytest.raises(InputError, match=sentence):
        Model(card(), Spy(), device="cpu").with_inference(**options)


def test_settings_may_be_of_numpy():
    model = Model(card(), Spy(), device="cpu").with_inference(
        size=(np.int64(64), 64), threshold=np.float32(0.5), refine_clicks="all", search_sides=[32, 64.5]
    )
    assert model.inference.size == (64, 64)


def test_missing_gpu_is_refused():
    with pytest.raises(DeviceError, match="no such GPU"):
        Model(card(), Spy(), device="cuda:99")


@pytest.mark.parametrize(
    ("device", "precision"), [("tpu9", "auto"), ("xpu", "auto"), ("meta", "auto"), ("cpu", "float8")]
)
def test_unknown_device_and_precision_are_refused(device, precision):
    with pytest.raises(DeviceError, match="Unknown"):
        Model(card(), Spy(), device=device, precision=precision)


if torch.cuda.is_available():  # not a skip: where there is no GPU there is nothing to test

    def test_gpu_answer_is_the_cpu_answer():
        torch.manual_seed(0)
        net = backends.build(
            "cfr-icl", {"img_size": 224, "embed_dim": 64, "depth": 4, "num_heads": 2, "neck_dims": [8] * 4}
        )
        given = inputs(224)
        want = Model(card(), net, device="cpu").logits(*given)
        assert torch.allclose(
            Model(card(), net, device="cuda", precision="float32").logits(*given), want, atol=1e-2
        )
        assert Model(card(), net, device="cuda").precision in ("bfloat16", "float32")


def test_a_gpu_without_room_is_said_with_the_fix():
    class Full(Spy):
        def forward(self, image, prev_mask, clicks):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(DeviceError, match=r"too small for spy; close what else uses it, or use device='cpu'"):
        Model(card(), Full(), device="cpu").logits(*inputs())
