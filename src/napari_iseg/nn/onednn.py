"""Products of matrices by oneDNN, which fuses them with what follows and multiplies packed weights."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor


class Packing:
    """A weight matrix in the memory layout that oneDNN multiplies with fastest; empty until `pack`.

    A packed copy belongs to one state of one parameter and to one number format: when the parameter is
    changed, moved or replaced, `of` answers None and the layer goes its plain way. Copies and pickles of a
    layer are not packed.
    """

    def __init__(self) -> None:
        self._held: tuple[weakref.ref[Tensor], tuple[int, int], Tensor] | None = None

    def pack(self, source: Tensor, matrix: Tensor, dtype: torch.dtype) -> None:
        """Hold ``matrix`` (D, C), which was made of the parameter ``source``, as ``dtype``."""
        with torch.inference_mode(False), torch.no_grad():
            packed = torch.ops.mkldnn._reorder_linear_weight(matrix.detach().to(dtype).contiguous())
        self._held = weakref.ref(source), _stamp(source), packed

    def of(self, source: Tensor, dtype: torch.dtype) -> Tensor | None:
        """The matrix of ``source`` as it is now, packed as ``dtype``, or None."""
        held = self._held
        if held is None or held[0]() is not source or held[1] != _stamp(source):
            return None
        return held[2] if held[2].dtype == dtype else None

    def __deepcopy__(self, _memo: dict[int, Any]) -> Packing:
        return Packing()

    def __reduce__(self) -> tuple[type[Packing], tuple[()]]:
        return Packing, ()


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None, outer: int, then: str = "none") -> Tensor:
    """oneDNN's product on (..., C) with a plain or packed weight, then "gelu", "relu" or "none"."""
    rows = x.reshape(-1, x.shape[-1]).to(weight.dtype)
    bias = None if bias is None else bias.to(weight.dtype)
    algorithm = "none" if then == "gelu" else ""  # the exact GELU (erf), not tanh
    out: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, then, [], algorithm)
    return out.view(*x.shape[:-1], outer)


def _stamp(source: Tensor) -> tuple[int, int]:
    """What changes when a tensor's values may have changed."""
    return source.data_ptr(), 0 if source.is_inference() else source._version


def onednn_format(x: Tensor, weight: Tensor) -> torch.dtype | None:
    """The format in which the fused call may multiply, or None where it does not fit.

    It needs a CPU, no gradients, a torch built with that operator, and float32, or autocast to bfloat16 where
    `has_matrix_unit`.
    """
    if (
        x.device.type != "cpu"
        or weight.dtype != torch.float32
        or x.numel() == 0
        or torch.is_grad_enabled()
        or not torch._C._has_mkldnn
        or not hasattr(torch.ops.mkldnn, "_linear_pointwise")
    ):
        return None
    if not torch.is_autocast_enabled("cpu"):
        return torch.float32 if x.dtype == torch.float32 else None
    asked = torch.get_autocast_dtype("cpu")
    fits = asked == torch.bfloat16 and x.dtype in (torch.float32, asked) and has_matrix_unit()
    return asked if fits else None


def has_matrix_unit() -> bool:
    """Whether this CPU multiplies bfloat16 matrices in units of its own (Intel's AMX).

    They take a third of float32's time or less, where other CPUs take as long or much longer.
    """
    asked = getattr(torch.cpu, "_is_amx_tile_supported", None)  # private, so it may go
    return asked is not None and bool(asked())
