"""A small deterministic few-shot method for tests of the run, and images it can solve.

It looks at grey values only: each label is the mean grey of its painted pixels, so that what a run must write
is known pixel by pixel, and tiling cannot change it.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from napari_iseg.fewshot.base import Image, Position, Prediction, Support
from napari_iseg.fewshot.output import Output

Volume = npt.NDArray[np.uint8]


def grey_means(supports: Sequence[Support], labels: Sequence[int]) -> npt.NDArray[np.float64]:
    """Mean grey of background and of every label over all supports, (L + 1,); clicks count as pixels."""
    means = []
    for label in (0, *labels):
        grey = [s.image[..., 0][s.mask == label] for s in supports]
        for s in supports:
            grey += [
                s.image[round(c.row), round(c.col), :1] for own, c in s.clicks if own == label and c.positive
            ]
        values = np.concatenate(grey) if grey else np.zeros(0)
        means.append(float(values.mean()) if values.size else 0.0)
    return np.array(means)


@dataclass
class GreyPredictor:
    """Nearest mean grey. ``slow``: seconds per unit; ``log``: a file that gets a line per unit."""

    identity: str = "grey"
    needs_image: bool = True
    slow: float = 0.0
    log: Path | None = None
    fail_at: tuple[float, ...] = ()
    failures: int = 10**6
    die_once: Path | None = None
    smear: bool = False
    calls: list[Position] = field(default_factory=list)

    def predict_unit(
        self,
        image: Image | None,
        position: Position,
        supports: Sequence[Support],
        labels: Sequence[int],
        previous: npt.NDArray[np.float32] | None = None,
    ) -> Prediction:
        assert image is not None
        self.calls.append(position)
        if self.slow:
            time.sleep(self.slow)
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(f"{os.getpid()} {position} {image.shape}\n")
        if position and position[0] in self.fail_at and self.failures > 0:
            self.failures -= 1
            raise RuntimeError("the network has a bad day")
        if self.die_once is not None and not self.die_once.exists():
            self.die_once.touch()
            os._exit(3)
        means = grey_means(supports, labels)
        score = -((image[..., 0][None] - means[:, None, None]) ** 2) * 200
        if self.smear:  # an answer that depends on the window: what blending is for
            score = score * 0.05
            score[0] += np.linspace(-3, 3, image.shape[1])
        if previous is not None:
            score = score + 2 * previous
        score -= score.max(0)
        odds = np.exp(score)
        probability = (odds / odds.sum(0)).astype(np.float32)
        presence = probability[1:].reshape(len(labels), -1).max(1)
        return Prediction(probability, 0.9 if position and position[0] % 2 else 0.8, presence)


@dataclass
class CopyFirst:
    """Copies the mask of the nearest support: a method that needs no image."""

    identity: str = "copy"
    needs_image: bool = False

    def predict_unit(
        self,
        image: Any,
        position: Position,
        supports: Sequence[Support],
        labels: Sequence[int],
        previous: Any = None,
    ) -> Prediction:
        assert image is None
        nearest = min(supports, key=lambda s: abs(s.position[0] - position[0]))
        rows = [nearest.mask == label for label in labels]
        inside = np.stack([~np.any(rows, axis=0), *rows]).astype(np.float32)
        return Prediction(inside, 0.5, np.ones(len(labels), np.float32))


def blobs(depth: int = 5, side: int = 24) -> tuple[Volume, npt.NDArray[np.uint32]]:
    """A volume of two grey objects that move from slice to slice, and its true labels (1 and 2)."""
    volume = np.full((depth, side, side), 20, np.uint8)
    truth = np.zeros(volume.shape, np.uint32)
    rows, cols = np.mgrid[:side, :side]
    for z in range(depth):
        for label, (row, col) in enumerate(((6 + z % 4, 6), (17, 17 - z % 4)), start=1):
            inside = (rows - row) ** 2 + (cols - col) ** 2 < 20
            volume[z][inside] = 90 * label
            truth[z][inside] = label
    return volume, truth


def sparse(truth: npt.NDArray[np.uint32], *planes: int) -> npt.NDArray[np.uint32]:
    """Labels on some planes only."""
    labels = np.zeros_like(truth)
    for plane in planes:
        labels[plane] = truth[plane]
    return labels


def files_of(folder: Path) -> dict[str, bytes]:
    """All files of a folder by relative name: two runs are equal if these are."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def disk_full_once(monkeypatch: pytest.MonkeyPatch, at: int = 3) -> None:
    """The ``at``-th write of a run's output finds the disk full; later ones go through."""
    write, count = Output._sync, 0

    def full(self: Output, *arguments: Any) -> None:
        nonlocal count
        count += 1
        if count == at:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, *arguments)

    monkeypatch.setattr(Output, "_sync", full)
