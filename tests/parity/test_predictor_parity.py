"""Click loops against traces of the published predictor; ISEG_PARITY may name the full file's folder."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fill import fill
from PIL import Image
from torch import Tensor

from napari_iseg import backends
from napari_iseg.backends.base import Inference
from napari_iseg.images import PlaneSource
from napari_iseg.interactive.predictor import Predictor
from napari_iseg.interactive.zoom import ZoomIn
from napari_iseg.prompts import Click

DATA = Path(__file__).parent / "data"
FULL = os.environ.get("ISEG_PARITY")
MODES = ("std", "cfr1_first", "cfr4_first", "acfr4_first", "cfr1_all", "cfr4_all", "acfr4_all")


def distance(clicks: Tensor, height: int, width: int) -> Tensor:
    """(B, H, W) distance to the nearest used click, 400 where there is none and at most."""
    rows, cols = torch.arange(height)[None, :, None, None], torch.arange(width)[None, None, :, None]
    squares = (rows - clicks[:, None, None, :, 0]).float() ** 2 + (
        cols - clicks[:, None, None, :, 1]
    ).float() ** 2
    unused = (clicks[..., :2].amax(-1) < 0)[:, None, None]
    return squares.sqrt().masked_fill(unused, 400).amin(-1).clamp(max=400)


def analytic(image: Tensor, prev_mask: Tensor, clicks: Tensor) -> Tensor:
    """The stand-in without weights that the traces of that name were made with."""
    positive, negative = (distance(signed, *image.shape[-2:]) for signed in clicks.chunk(2, 1))
    away = negative.clamp(max=60) / 12 - 5
    return (8 * (image.mean(1) - 0.5) + 1.5 - positive / 30 + away + (prev_mask[:, 0] - 0.5))[:, None]


class Counted:
    """A network run as it is, with settings, counting its forwards."""

    def __init__(self, network, inference: Inference) -> None:
        self.network, self.inference, self.forwards = network, inference, 0
        self.card = SimpleNamespace(name="golden", prompts=("click",))

    def logits(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> Tensor:
        self.forwards += 1
        with torch.inference_mode():
            return self.network(image, prev_mask, clicks)


@dataclass(frozen=True)
class Recorded(ZoomIn):
    """The published rule, keeping (click index, published inclusive crop) of every pass."""

    crops: list[tuple[int, ...]] = field(default_factory=list)

    def windows(self, state):
        (window,) = super().windows(state)
        edges = (window.top, window.bottom - 1, window.left, window.right - 1)
        self.crops.append((len(state.clicks) - 1, *edges))
        return (window,)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=["reduced", "full"] if FULL else ["reduced"])
def golden(request: pytest.FixtureRequest) -> tuple[dict[str, np.ndarray], int]:
    """The stored arrays, and every how many pixels probabilities were kept."""
    with np.load((DATA if request.param == "reduced" else Path(FULL)) / "cfr_icl_predictor.npz") as archive:
        stored = dict(archive)
    if request.param == "full":
        return stored, 5
    # The analytic network sees the mean of the channels alone, so only their sum is kept.
    total = stored["analytic/sum"].astype(np.uint16)
    stored["analytic/image"] = np.stack([(total + i) // 3 for i in range(3)], -1).astype(np.uint8)
    stored["vit/image"] = np.asarray(Image.open(DATA / "cfr_icl_predictor_vit.png"))
    return stored, 30


def network(name: str, stored: dict[str, np.ndarray]):
    if name == "analytic":
        return analytic
    c = json.loads(str(stored["config"]))
    variant = {"img_size": c["img"], "patch_size": c["patch"], "embed_dim": c["dim"], "depth": c["depth"]}
    variant |= {"num_heads": c["heads"], "neck_dims": c["out"], "upsample": c["up"], "head_channels": c["ch"]}
    net = backends.build("cfr-icl", variant).eval()
    fill(net, json.loads(str(stored["gains"])))
    return net


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["vit", "analytic"])
def test_every_click_of_a_trace_is_the_published_one(golden, name: str, mode: str):
    stored, step = golden
    options, trace = json.loads(str(stored["modes"]))[mode], f"{name}/{mode}"
    height, width = (int(side) for side in stored[f"{name}/target_size"])
    inference = Inference(
        size=(height, width),
        refine_steps=options["refine_steps"],
        refine_adaptive=options["adaptive"],
        refine_clicks=options["refine_on_first_n_clicks"],
    )
    model = Counted(network(name, stored), inference)
    predictor = Predictor(PlaneSource.wrap(stored[f"{name}/image"]), model, context=None)
    predictor.rule = rule = Recorded(**vars(predictor.rule))
    state, forwards = None, []
    for i, (row, col, positive) in enumerate(stored[f"{trace}/clicks"]):
        before = model.forwards
        state = predictor.step(state, Click(int(row), int(col), bool(positive)))
        forwards.append(model.forwards - before)
        np.testing.assert_allclose(
            state.probability[::step, ::step], stored[f"{trace}/probs"][i], rtol=0, atol=5e-5
        )
        # single pixels lie within rounding of the threshold
        assert abs(int((state.probability > 0.49).sum()) - int(stored[f"{trace}/area"][i])) <= 2
    assert forwards == stored[f"{trace}/forwards"].tolist()
    assert rule.crops == [tuple(crop) for crop in stored[f"{trace}/all_rois"].tolist()]


def test_refining_every_click_is_the_paper_s_reading(golden):
    stored, _ = golden
    clicks = [Click(int(r), int(c), bool(s)) for r, c, s in stored["analytic/cfr1_all/clicks"]]
    source = PlaneSource.wrap(stored["analytic/image"])
    ends = []
    for refined in (None, 20):
        inference = Inference(size=(448, 448), refine_steps=1, refine_clicks=refined)
        predictor, state = Predictor(source, Counted(analytic, inference), context=None), None
        for click in clicks[:3]:
            state = predictor.step(state, click)
        ends.append(state)
    assert ends[0] == ends[1]
