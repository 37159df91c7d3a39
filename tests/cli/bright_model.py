"""A model without weights for the command line's tests: what is as bright as the clicked place is object."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_iseg.backends.base import ClickNet, Inference
from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.model import Model


class BrightNet(ClickNet):
    """Logits fall with the difference to the mean colour at the foreground clicks, and with the distance."""

    def forward(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        rows, cols = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        logits = torch.full((len(image), 1, height, width), -9.0)
        for index, points in enumerate(clicks):
            half = len(points) // 2
            for sign, part in ((1.0, points[:half]), (-1.0, points[half:])):
                for row, col, order in part.tolist():
                    if order < 0:
                        continue
                    at = image[index, :, min(round(row), height - 1), min(round(col), width - 1)]
                    alike = (image[index] - at[:, None, None]).abs().amax(0) < 0.15
                    near = (rows - row) ** 2 + (cols - col) ** 2 < (60 if sign > 0 else 8) ** 2
                    logits[index, 0][alike & near] = 9.0 * sign
                    if sign < 0 and (points[:half, :2] - torch.tensor([row, col])).abs().sum(1).min() < 1:
                        logits[index] = -9.0  # both at one place: nothing is object
        return logits


def bright_model(*_: object, **__: object) -> Model:
    """Stands in for ``load_model``."""
    inference = Inference(flip=False, size=(128, 128))
    card = ModelCard(name="bright", backend="cfr-icl", variant="vit-xtiny")
    return Model(card, BrightNet(), device="cpu", inference=inference)
