"""Weights that follow from a tensor's own name and shape, so that golden numbers need no weight files."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping

import numpy as np
import torch


def weight(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The float32 weight of a published key; ``RandomState`` is used because its stream never changes."""
    noise = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.long)
    if name.endswith("running_var"):
        values = 1.0 + 0.1 * np.abs(noise)
    elif len(shape) >= 2:
        values = noise / np.sqrt(np.prod(shape[1:]))
    else:
        values = 0.1 * noise + (1.0 if name.endswith("weight") else 0.0)
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


@torch.no_grad()
def fill(net: torch.nn.Module, gains: Mapping[str, float]) -> None:
    """Overwrite every weight of a network whose key names are the published ones.

    ``gains`` maps patterns, searched in the key, to factors.
    """
    for key, value in net.state_dict().items():
        factor = float(np.prod([gain for pattern, gain in gains.items() if re.search(pattern, key)]))
        value.copy_(weight(key, tuple(value.shape)) * factor)
