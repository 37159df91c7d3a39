"""A model without weights, for tests of the click loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import torch
from torch import Tensor

from napari_iseg.backends.base import Inference

Network = Callable[[Tensor, Tensor, Tensor], Tensor]


def nearest(clicks: Tensor, height: int, width: int) -> Tensor:
    """(B, H, W) distance to the nearest used click, 1e3 where there is none."""
    rows = torch.arange(height)[None, :, None, None]
    cols = torch.arange(width)[None, None, :, None]
    squared = (rows - clicks[:, None, None, :, 0]) ** 2 + (cols - clicks[:, None, None, :, 1]) ** 2
    unused = clicks[..., :2].amax(-1) < 0
    return squared.float().sqrt().masked_fill(unused[:, None, None, :], 1e3).amin(-1)


def bright_near_clicks(image: Tensor, prev_mask: Tensor, clicks: Tensor) -> Tensor:
    """Object: bright, nearer to a positive than to a negative click, or in the previous mask."""
    positive, negative = (nearest(signed, *image.shape[-2:]) for signed in clicks.chunk(2, 1))
    side = (negative - positive).clamp(-10, 10) / 10
    return (12 * (image.mean(1) - 0.5) + 2 * side - positive / 40 + prev_mask[:, 0])[:, None]


@dataclass
class FakeModel:
    """What Predictor needs of a Model, around any network function; counts its forwards."""

    network: Network = bright_near_clicks
    inference: Inference = field(default_factory=lambda: Inference(size=(64, 64)))
    forwards: int = 0
    batches: list[int] = field(default_factory=list)
    card: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(name="fake", prompts=("click",)))

    def logits(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> Tensor:
        self.forwards += 1
        self.batches.append(len(image))
        with torch.inference_mode():
            return self.network(image, prev_mask, clicks)

    def scored(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.logits(image, prev_mask, clicks)
        return logits, logits.sigmoid().mean((1, 2, 3))
