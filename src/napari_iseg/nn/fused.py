"""Linear layers of a transformer, fused with what follows them where the machine offers it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def linear(x: Tensor, weight: Tensor, bias: Tensor, *, gelu: bool = False) -> Tensor:
    """``x @ weight.T + bias``, then the exact (erf) GELU if asked for.

    Parameters
    ----------
    x : (..., C)
    weight : (D, C); bias : (D,)

    Returns
    -------
    (..., D)

    Notes
    -----
    For float32 inference on a CPU this calls oneDNN, which applies bias and GELU while a tile is still in the
    cache; the default path is another library's GEMM and one more pass over the widest activations of the
    network. Results differ by rounding only.
    """
    if _has_onednn(x, weight):
        rows = x.reshape(-1, x.shape[-1])
        name, algorithm = ("gelu", "none") if gelu else ("none", "")  # "none": erf, not tanh
        out: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, name, [], algorithm)
        return out.view(*x.shape[:-1], weight.shape[0])
    out = F.linear(x, weight, bias)
    return F.gelu(out) if gelu else out


def _has_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether the fused call fits: no gradients, float32 on a CPU, a torch built with that operator."""
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.numel() > 0
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and torch._C._has_mkldnn
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )
