"""Made pictures whose answer is known, and a tiny untrained IFSENet."""

from __future__ import annotations

import numpy as np
import torch

from napari_iseg import backends
from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.model import Model
from napari_iseg.fewshot.learned import LearnedModel

TINY = {
    "encoder": "conv",
    "widths": [8, 16, 16, 32],
    "depths": [1, 1, 1, 1],
    "channels": 16,
    "rates": [1, 2],
    "tokens": 32,
}


def tiny_model(**options: object) -> LearnedModel:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = backends.build("ifsenet", TINY)
    with torch.no_grad():  # untrained, its presence head would leave it to chance whether anything is found
        net.query_path.presence[-1].bias.fill_(4.0)
    return LearnedModel(Model(ModelCard("tiny", "ifsenet", TINY), net, device="cpu"), **options)


def blobs(shift: int = 0, size: int = 96, second: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """An image with a bright disk (label 1) and perhaps a striped square (label 2), and its labels."""
    rows, cols = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.int32)
    labels[(rows - 35 - shift) ** 2 + (cols - 34) ** 2 < 18**2] = 1
    if second:
        labels[60:84, 56 - shift : 84 - shift] = 2
    rng = np.random.default_rng(shift + 5)
    image = 0.35 + 0.04 * rng.standard_normal((size, size, 1)) + np.zeros((1, 1, 3))
    image[labels == 1] += 0.4
    image[labels == 2] += np.where(cols % 6 < 3, 0.3, -0.3)[labels == 2][:, None]
    return np.clip(image, 0, 1).astype(np.float32), labels


def iou(a: np.ndarray, b: np.ndarray) -> float:
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0
