"""Golden numbers of IS5Net and its GT encoder: where they lie, how they were thinned, weights."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import torch
from fill import fill

from napari_iseg import backends

DATA = Path(__file__).parent / "data"
FULL = os.environ.get("ISEG_PARITY")
FOLDERS = {"reduced": DATA} | ({"full": Path(FULL)} if FULL else {})
SIDE_STEP = 8  # in the reduced file, on top of the full file's own thinning
FEATURE_STEP = (4, 4)  # channels, pixels


def side_of(key: str, whole: np.ndarray, kind: str) -> np.ndarray:
    """A whole side map (256, 256) cut like the stored one."""
    step = 1 if key == "side_1" else 2
    step *= SIDE_STEP if kind == "reduced" else 1
    return whole[::step, ::step]


def feature_of(whole: np.ndarray, kind: str) -> np.ndarray:
    """A whole feature map (C, h, w) cut like the stored one."""
    step = max(1, whole.shape[-1] // 16)
    thin = whole[::8, ::step, ::step]
    return thin[:: FEATURE_STEP[0], :: FEATURE_STEP[1], :: FEATURE_STEP[1]] if kind == "reduced" else thin


def stored(kind: str, name: str) -> dict[str, np.ndarray]:
    with np.load(FOLDERS[kind] / f"{name}.npz") as archive:
        return dict(archive)


def gains(data: Mapping[str, np.ndarray]) -> dict[str, float]:
    return dict(json.loads(str(data["gains"])))


def channel(levels: np.ndarray) -> torch.Tensor:
    """(H, W) grey levels -> (1, 1, H, W) in [0, 1]."""
    return torch.from_numpy(levels)[None, None].float() / 255


def colours(image: np.ndarray) -> torch.Tensor:
    """(H, W, 3) grey levels -> (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


@cache
def networks(gain_items: tuple[tuple[str, float], ...]):
    """Network and GT encoder with the golden weights, in evaluation mode: 44 million numbers, drawn once."""
    nets = backends.build("is5net", variant={"in_channels": 5}), backends.build("is5net-gt-encoder")
    for net in nets:
        fill(net.eval(), dict(gain_items))
    return nets
