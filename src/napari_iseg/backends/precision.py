"""In which numbers a network computes."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

import torch

from napari_iseg.errors import DeviceError

PRECISIONS: Final = MappingProxyType(
    {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
)


def chosen_precision(name: str, device: torch.device) -> str:
    """The precision to use for "auto", "float32", "bfloat16" or "float16".

    "auto" is float32 on a CPU, and bfloat16 on a GPU that computes in it.

    Raises
    ------
    DeviceError
        For an unknown precision, or one that the device cannot compute in.
    """
    if name == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bfloat16" if fast else "float32"
    if name not in PRECISIONS:
        raise DeviceError(f"Unknown precision {name!r}; use 'auto', {', '.join(map(repr, PRECISIONS))}.")
    if name == "bfloat16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise DeviceError(
            f"The GPU {device} does not compute in bfloat16; use precision='float16' or 'auto'."
        )
    return name
