"""Models without weights, for tests of the click loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import torch
from torch import Tensor

from napari_iseg.backends.base import Inference


def click_distance(clicks: Tensor, height: int, width: int, far: float) -> Tensor:
    """(B, H, W) distance to the nearest valid click, ``far`` where there is none and at most."""
    rows = torch.arange(height)[None, :, None, None]
    cols = torch.arange(width)[None, None, :, None]
    squared = (rows - clicks[:, None, None, :, 0]) ** 2 + (cols - clicks[:, None, None, :, 1]) ** 2
    valid = clicks[..., :2].amax(-1) >= 0
    distance = squared.sqrt().masked_fill(~valid[:, None, None, :], far)
    return distance.amin(-1).clamp(max=far)


def analytic(image: Tensor, prev_mask: Tensor, clicks: Tensor) -> Tensor:
    """The stand-in network of the golden traces: bright pixels near positive clicks."""
    height, width = image.shape[-2:]
    positive, negative = clicks.chunk(2, 1)
    dp = click_distance(positive, height, width, 400.0)
    dn = click_distance(negative, height, width, 400.0)
    logit = 8 * (image.mean(1) - 0.5) + 1.5 - dp / 30 + dn.clamp(max=60) / 12 - 5 + (prev_mask[:, 0] - 0.5)
    return logit[:, None]


@dataclass
class FakeModel:
    """What Predictor needs of a Model, around any function of (image, prev_mask, clicks)."""

    network: object = analytic
    inference: Inference = field(default_factory=Inference)
    calls: int = 0
    card: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(name="fake", prompts=("click",)))

    def logits(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> Tensor:
        self.calls += 1
        with torch.inference_mode():
            return self.network(image, prev_mask, clicks)

    def scored(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.logits(image, prev_mask, clicks)
        return logits, logits.sigmoid().mean((1, 2, 3))
