"""One small network of every kind that answers prompts."""

from __future__ import annotations

from typing import Any

import torch

from napari_iseg import backends
from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.model import Model

VIT = {"img_size": 128, "embed_dim": 48, "depth": 4, "num_heads": 2, "neck_dims": [8, 8, 8, 8]}
CONV = {"trunk": "conv", "widths": [16, 16, 16, 32], "depths": [1, 1, 1, 1], "sweeps": 2}
DECODER = {"decoder_dim": 32, "feedforward_dim": 32, "encoder_layers": 1, "decoder_layers": 2, "queries": 4}
SAM = {"embed_dim": 32, "depth": 2, "num_heads": 2, "global_attn_indexes": [1], "window_size": 2}
SAM |= {"img_size": 128, "prompt_dim": 32, "mlp_dim": 32, "iou_dim": 16}
FEW = {"encoder": "conv", "widths": (8, 16, 16, 32), "depths": (1, 1, 1, 1), "channels": 16, "rates": (1, 2)}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "cfr-icl": ("cfr-icl", VIT | {"upsample": "x4", "head_channels": 8}),
    "cfr-icl conv": ("cfr-icl", CONV),
    "mst main": ("mst", VIT | {"depth": 12, "head_channels": 8, "branch": "main"}),
    "mst 1024": ("mst", VIT | {"depth": 12, "head_channels": 8, "branch": "mst-1024"}),
    "mst conv": ("mst", CONV),
    "adaptiveclick": ("adaptiveclick", VIT | DECODER),
    "adaptiveclick conv": ("adaptiveclick", CONV | DECODER),
    "ifsenet": ("ifsenet", FEW | {"guidance": True}),
    "sam": ("sam", SAM),
    "sam conv": ("sam", {"encoder": "conv", "img_size": 128, "prompt_dim": 80, "mlp_dim": 32, "iou_dim": 16}),
}


def model(kind: str, precision: str = "float32", device: str = "cpu") -> Model:
    """A tiny network, the same one at every call."""
    name, variant = NETWORKS[kind]
    torch.manual_seed(0)
    card = ModelCard(kind, name, variant)
    return Model(card, backends.build(name, variant), device=device, precision=precision)


def inputs(side: int = 128) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A bright square on noise, half of it known, a click on either side."""
    torch.manual_seed(1)
    image, before = 0.2 * torch.rand(1, 3, side, side), torch.zeros(1, 1, side, side)
    image[..., 30:90, 40:100] += 0.5
    before[..., 30:60, 40:100] = 1
    return image, before, torch.tensor([[[61.0, 71.5, 0], [-1, -1, -1], [111.25, 20, 1], [-1, -1, -1]]])
