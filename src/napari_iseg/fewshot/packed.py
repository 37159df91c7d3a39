"""Encodings as arrays for the disk, and back, bit by bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

T = TypeVar("T")
_PLAIN = ("shape", "content")  # fields that are no tensors


def encoding(identity: str, device: torch.device) -> str:
    """Of all that the bits of an encoding depend on; another number of threads adds in another order."""
    return f"{identity}:{device.type}:{torch.get_num_threads()}"


def pack(features: Any) -> dict[str, npt.NDArray[Any]]:
    """Arrays of an encoding: a dataclass of CPU tensors, ``shape`` (rows, columns) and ``content`` bytes."""
    names = [field.name for field in fields(features) if field.name not in _PLAIN]
    arrays = {name: getattr(features, name).numpy() for name in names}
    return {
        **arrays,
        "shape": np.array(features.shape, np.int64),
        "content": np.frombuffer(features.content, np.uint8),
    }


def unpack(kind: Callable[..., T], arrays: Mapping[str, npt.NDArray[Any]]) -> T:
    """The encoding of that class, which ``pack`` was given."""
    tensors = {name: torch.from_numpy(values) for name, values in arrays.items() if name not in _PLAIN}
    rows, cols = arrays["shape"].tolist()
    return kind(**tensors, shape=(rows, cols), content=arrays["content"].tobytes())
