"""AdaptiveClick's click loop against traces of the published predictor."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from adaptiveclick_golden import DATA, network, read, small_variant
from skimage.data import astronaut
from torch import Tensor

from napari_iseg import backends
from napari_iseg.evaluation.clicks import ClickSimulator
from napari_iseg.images import PlaneSource
from napari_iseg.interactive.predictor import Predictor
from napari_iseg.prompts import Click

FULL = os.environ.get("ISEG_PARITY")


def stub(image: Tensor, prev_mask: Tensor, clicks: Tensor) -> Tensor:
    """The formula that took the network's place in the stored trace."""
    near = [_distance(signed, *image.shape[-2:]) for signed in clicks.chunk(2, 1)]
    logits = 4 - near[0] / 10 - (4 - near[1] / 10).clamp(min=0)
    return (logits + 2 * prev_mask[:, 0] + image[:, 0] - image[:, 1])[:, None].float()


def _distance(clicks: Tensor, height: int, width: int) -> Tensor:
    rows, cols = torch.arange(height)[None, :, None, None], torch.arange(width)[None, None, :, None]
    squares = (rows - clicks[:, None, None, :, 0]) ** 2 + (cols - clicks[:, None, None, :, 1]) ** 2
    unused = (clicks[..., :2].amax(-1) < 0)[:, None, None]
    return squares.sqrt().masked_fill(unused, 1e6).amin(-1)


class AsPublished:
    """A network run with the backend's settings."""

    def __init__(self, net) -> None:
        self.net = net
        self.inference = backends.get("adaptiveclick").inference_for("vit-b")
        self.card = SimpleNamespace(name="golden", prompts=("click",))

    def logits(self, *tensors: Tensor) -> Tensor:
        with torch.inference_mode():
            return self.net(*tensors)


def check(net, stored, prefix: str, truth: np.ndarray, step: int) -> None:
    """Clicks, crops, probabilities and IoUs of a trace; the clicks are simulated here as well."""
    predictor = Predictor(PlaneSource.wrap(astronaut()[:360, :480]), AsPublished(net), context=None)
    simulator, mask, state = ClickSimulator(truth.astype(np.int8)), np.zeros(truth.shape, bool), None
    rows = stored[f"{prefix}clicks_positive_row_col_index"]
    for i, (positive, row, col, _) in enumerate(rows):
        click = simulator.next(mask)
        assert (click.positive, click.row, click.col) == (bool(positive), row, col)
        state = predictor.step(state, Click(int(row), int(col), bool(positive)))
        crop = state.zoom
        edges = (crop.top, crop.bottom - 1, crop.left, crop.right - 1)
        assert edges == tuple(stored[f"{prefix}roi_rmin_rmax_cmin_cmax"][i])
        np.testing.assert_allclose(
            state.probability[::step, ::step], stored[f"{prefix}prob_half"][i], rtol=0, atol=1e-4
        )
        mask = state.probability > 0.49
        iou = (mask & (truth > 0)).sum() / (mask | (truth > 0)).sum()
        assert iou == pytest.approx(float(stored[f"{prefix}ious"][i]), abs=2e-4)


@pytest.mark.parametrize("folder", [DATA, Path(FULL)] if FULL else [DATA], ids=lambda folder: folder.name)
def test_a_trace_with_a_moving_crop_is_the_published_one(folder):
    with np.load(folder / "adaptiveclick_predictor.npz") as archive:
        stored = dict(archive)
    check(stub, stored, "stub_", stored["stub_gt"], 24 if folder == DATA else 2)


if FULL:

    def test_a_trace_of_the_small_network_is_the_published_one():
        import json

        with np.load(Path(FULL) / "adaptiveclick_predictor.npz") as archive:
            stored = dict(archive)
        config = json.loads(str(read(Path(FULL))["config"]))
        check(network(small_variant(config), str(stored["gains"])), stored, "", stored["gt"], 2)
