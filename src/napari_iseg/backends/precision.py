"""In which numbers a network computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import MappingProxyType
from typing import Final

import numpy as np
import torch

from napari_iseg.errors import DeviceError
from napari_iseg.nn.onednn import has_matrix_unit

PRECISIONS: Final = MappingProxyType(
    {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
)

_AUTOCAST: Final = ("cpu", "cuda", "mps")  # devices on which a caller's autocast may be on


def chosen_precision(name: str, device: torch.device) -> str:
    """The precision to use for "auto", "float32", "bfloat16" or "float16".

    "auto" is bfloat16 on a GPU that computes in it and on a CPU with units for it, which multiply matrices
    three to six times as fast (`napari_iseg.nn.onednn.has_matrix_unit`); it is float32 elsewhere.

    Raises
    ------
    DeviceError
        For an unknown precision, or one that the device cannot compute in.
    """
    if name == "auto":
        return "bfloat16" if _is_fast(device) else "float32"
    if name not in PRECISIONS:
        raise DeviceError(f"Unknown precision {name!r}; use 'auto', {', '.join(map(repr, PRECISIONS))}.")
    if name == "bfloat16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise DeviceError(
            f"The GPU {device} does not compute in bfloat16; use precision='float16' or 'auto'."
        )
    return name


@contextmanager
def computing(device: torch.device, precision: str, what: str) -> Iterator[None]:
    """Without gradients, in a precision of `chosen_precision`.

    Raises
    ------
    DeviceError
        When the memory of a GPU is too small for ``what``.
    """
    autocast = torch.autocast(device.type, PRECISIONS[precision], enabled=precision != "float32")
    with answering(), autocast:
        try:
            yield
        except torch.cuda.OutOfMemoryError:
            raise too_large(device, what) from None


@contextmanager
def answering() -> Iterator[None]:
    """Without gradients and without what a caller's settings would change or forbid.

    A model computes in its own precision, whatever autocast is around the call, and its small tensors are
    made on the CPU, whatever the default device; and probabilities may be too small for their format, which
    are then 0.
    """
    with ExitStack() as stack:
        if torch.get_default_device().type != "cpu":  # to enter it always would slow every call
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(torch.inference_mode())
        stack.enter_context(np.errstate(under="ignore"))
        for kind in _AUTOCAST:
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def too_large(device: torch.device, what: str) -> DeviceError:
    """The sentence for a GPU whose memory is too small."""
    return DeviceError(
        f"The memory of {device} was too small for {what}; close what else uses it, or use device='cpu'."
    )


def _is_fast(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 faster than in float32."""
    if device.type == "cpu":
        return has_matrix_unit()
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
