"""Stand-ins for tests of the dock: a network that draws disks, and a loader that hands it out."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from napari_iseg.backends.base import ClickNet, Inference
from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.model import Model
from napari_iseg.errors import DeviceError
from napari_iseg.prompts import Box

RADIUS = 20  # pixels of the network's input
SIZE = (128, 128)
CARD = ModelCard(
    name="disks",
    backend="fake",
    variant="small",
    title="Disks",
    licence="BSD-3-Clause",
    size_bytes=1_500_000,
    good_at="disks around clicks",
    inference={"threshold": 0.5, "flip": False},
)
OTHER = replace(CARD, name="far-away", title="Far away", manual_url="https://example.org/weights")


class DiskNet(ClickNet):
    """Positive clicks give disks, negative ones take disks away; ``seconds`` makes it slow."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.seconds = seconds
        self.threads: set[int] = set()
        self.error: Exception | None = None

    def forward(self, image: torch.Tensor, prev_mask: torch.Tensor, clicks: torch.Tensor) -> torch.Tensor:
        """Logits from 4 inside to -4 outside, 0 at the radius."""
        self.threads.add(threading.get_ident())
        if self.error is not None:
            raise self.error
        time.sleep(self.seconds)
        rows = torch.arange(image.shape[2])[None, :, None]
        cols = torch.arange(image.shape[3])[None, None, :]
        half = clicks.shape[1] // 2
        logits = torch.full((image.shape[0], image.shape[2], image.shape[3]), -4.0)
        for index in range(2 * half):
            row, col, order = (clicks[:, index, axis][:, None, None] for axis in range(3))
            depth = RADIUS - ((rows - row) ** 2 + (cols - col) ** 2).sqrt()
            depth = torch.where(order >= 0, depth, -RADIUS)
            logits = logits.maximum(depth.clamp(-4, 4)) if index < half else logits.where(depth < 0, -4.0)
        return logits[:, None]


class LocalCard(ModelCard):
    """A card whose weights are here."""

    @property
    def is_local(self) -> bool:
        """Always."""
        return True


class WideningRefiner:
    """Adds ``by`` pixels above and below a mask; with ``lost`` it finds nothing."""

    size, threshold = 256, 0.5

    def __init__(self, by: int = 3) -> None:
        self.by = by
        self.lost = False
        self.seconds = 0.0
        self.threads: set[int] = set()

    def probability(self, image: np.ndarray, mask: np.ndarray, box: Box | None = None) -> np.ndarray:
        """1 on the wider mask."""
        self.threads.add(threading.get_ident())
        time.sleep(self.seconds)
        wide = mask.copy()
        for step in range(-self.by, self.by + 1):
            wide |= np.roll(mask, step, 0)
        return (wide & (not self.lost)).astype(np.float32)


class FakeLoader:
    """Hands out one model, as slowly as wanted."""

    def __init__(self, net: DiskNet | None = None, seconds: float = 0.0) -> None:
        self.net = net or DiskNet()
        self.seconds = seconds
        self.loads = 0
        self.forgotten = False
        self.refiner = WideningRefiner()
        self.error: Exception | None = None

    def cards(self) -> list[ModelCard]:
        """One that is here and one that is not."""
        return [LocalCard(**{name: getattr(CARD, name) for name in CARD.__dataclass_fields__}), OTHER]

    def edge_cards(self) -> list[ModelCard]:
        """One that is here."""
        return [ModelCard("widen", "is5net", "narrow")]

    def forget(self) -> None:
        """Told when the dock is closed."""
        self.forgotten = True

    def load_edges(self, key: object) -> WideningRefiner:
        """It widens masks."""
        return self.refiner

    def load(self, key: object) -> Model:
        """The disk model."""
        self.loads += 1
        time.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        if getattr(key, "device", "auto") == "cuda":
            raise DeviceError(
                "The device 'cuda' was asked for but no such GPU was found here; use device='cpu' or 'auto'."
            )
        inference = Inference(threshold=0.5, flip=False, size=SIZE)
        return Model(CARD, self.net, device="cpu", precision="float32", inference=inference)


def no_journal(folder: Path) -> Path:
    """A folder for journals of a test."""
    return folder / "sessions"
