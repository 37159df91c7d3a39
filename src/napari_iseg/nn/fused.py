"""Layers that are matrix products, fused with what follows them where the machine offers it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_iseg.nn.onednn import Packing, onednn_format, pointwise

PACKED_BYTES = 2**29  # weights of a network up to this size are packed; see `pack`


class Packable:
    """A layer that `pack` can pack; mixed into modules with a ``weight`` and a ``bias``."""

    weight: Tensor
    packing: Packing

    def matrix(self) -> Tensor:
        """The weight as (D, C)."""
        raise NotImplementedError

    def packed(self, x: Tensor) -> Tensor | None:
        """The packed matrix if it may be multiplied with ``x`` here and now, or None."""
        dtype = onednn_format(x, self.weight)
        return None if dtype is None else self.packing.of(self.weight, dtype)


class Linear(Packable, nn.Linear):
    """A linear layer, with the exact (erf) GELU behind it if asked for."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__(inner, outer)
        self.packing = Packing()

    def matrix(self) -> Tensor:
        """(outer, inner)."""
        return self.weight

    def forward(self, x: Tensor, gelu: bool = False) -> Tensor:
        """(..., inner) -> (..., outer)."""
        return linear(x, self.weight, self.bias, gelu=gelu, packed=self.packed(x))


class PointConv(Packable, nn.Conv2d):
    """A 1x1 convolution, with a ReLU behind it if asked for."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__(inner, outer, 1)
        self.packing = Packing()

    def matrix(self) -> Tensor:
        """(outer, inner)."""
        return self.weight.flatten(1)

    def forward(self, x: Tensor, relu: bool = False) -> Tensor:
        """(B, inner, h, w) -> (B, outer, h, w)."""
        packed = self.packed(x)
        if packed is None:
            out = super().forward(x)
            return F.relu(out, inplace=True) if relu else out
        assert self.bias is not None  # never without; for the type checker
        rows, then = x.permute(0, 2, 3, 1), "relu" if relu else "none"
        return pointwise(rows, packed, self.bias, len(self.bias), then).permute(0, 3, 1, 2)


class PatchConv(Packable, nn.Conv2d):
    """A convolution whose stride is its side, computed as one matrix product over the patches."""

    def __init__(self, inner: int, outer: int, side: int) -> None:
        super().__init__(inner, outer, side, stride=side)
        self.packing = Packing()

    def matrix(self) -> Tensor:
        """(outer, inner * side * side)."""
        return self.weight.flatten(1)

    def tokens(self, x: Tensor) -> Tensor:
        """(B, inner, H, W) -> (B, H/side * W/side, outer), raster order."""
        (side, _), (batch, channels, height, width) = self.stride, x.shape
        cells = x.reshape(batch, channels, height // side, side, width // side, side)
        rows = cells.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * side * side)
        assert self.bias is not None  # never without; for the type checker
        packed = self.packed(rows)
        if packed is not None:  # the flat matrix would be a copy where the weight lies channels last
            return pointwise(rows, packed, self.bias, self.out_channels)
        return linear(rows, self.matrix(), self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inner, H, W) -> (B, outer, H // side, W // side)."""
        side = self.stride[0]
        if self.packed(x) is None or x.shape[2] % side or x.shape[3] % side:
            return super().forward(x)
        rows = self.tokens(x).view(x.shape[0], x.shape[2] // side, x.shape[3] // side, self.out_channels)
        return rows.permute(0, 3, 1, 2)


def linear(
    x: Tensor, weight: Tensor, bias: Tensor, *, gelu: bool = False, packed: Tensor | None = None
) -> Tensor:
    """``x @ weight.T + bias``, then the exact (erf) GELU if asked for.

    Parameters
    ----------
    x : (..., C)
    weight : (D, C); bias : (D,)
    packed : ``weight`` as `Packable.packed` gives it for this ``x``

    Returns
    -------
    (..., D)

    Notes
    -----
    For float32 inference on a CPU this calls oneDNN, which applies bias and GELU while a tile is still in the
    cache; the default path is another library's GEMM and one more pass over the widest activations of the
    network. Results differ by rounding only. In bfloat16 packed weights spare their conversion at every call.
    """
    if packed is not None or _has_onednn(x, weight):
        matrix = weight if packed is None else packed
        return pointwise(x, matrix, bias, weight.shape[0], "gelu" if gelu else "none")
    out = F.linear(x, weight, bias)
    return F.gelu(out) if gelu else out


def products(x: Tensor, matrices: Tensor, bias: Tensor | None = None, *, gelu: bool = False) -> Tensor:
    """``x[i] @ matrices[i].T + bias`` for every sample, then the exact (erf) GELU if asked for; see `linear`.

    (B, N, C) with matrices (B, D, C) and bias (D,) or None -> (B, N, D).
    """
    if _has_onednn(x, matrices):
        pairs = zip(x, matrices.contiguous(), strict=True)
        then = "gelu" if gelu else "none"
        rows = [pointwise(one, matrix, bias, matrix.shape[0], then) for one, matrix in pairs]
        return torch.stack(rows) if len(rows) > 1 else rows[0][None]
    turned = matrices.transpose(1, 2)
    out = x @ turned if bias is None else torch.baddbmm(bias, x, turned)
    return F.gelu(out) if gelu else out


def point_conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A 1x1 convolution, as one matrix product where that is faster.

    (B, C, h, w) with weight (D, C, 1, 1) and bias (D,) or None -> (B, D, h, w).
    """
    if not _has_onednn(x, weight) or not x.is_contiguous(memory_format=torch.channels_last):
        return F.conv2d(x, weight, bias)
    # oneDNN takes a strided weight (a share of a larger one) too, but a hundred times as slowly.
    matrix = weight.flatten(1).contiguous()
    return pointwise(x.permute(0, 2, 3, 1), matrix, bias, weight.shape[0]).permute(0, 3, 1, 2)


def pack(net: nn.Module, limit: int = PACKED_BYTES) -> None:
    """Pack the weights of a network's `Packable` layers for inference on a CPU; a second call costs nothing.

    Wide linear layers are then 5 to 9 % faster, with the same bits. The price is memory: packed weights stand
    beside the plain ones, 0.34 GB for a ViT-B (inference does not touch the plain ones any more, so the
    system may page them out). A network with more than ``limit`` bytes of weights is left as it is: a few per
    cent are not worth 1.2 GB (ViT-L) or 2.5 GB (ViT-H). Under autocast to bfloat16, on a CPU that computes in
    it, weights of any size are packed as such, in half the memory: else every call would convert all of them.
    Nothing is done in training mode, in float16 or on another device.
    """
    layers = [layer for layer in net.modules() if isinstance(layer, Packable)]
    size = sum(layer.weight.numel() * layer.weight.element_size() for layer in layers)
    if net.training or not hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        return
    with torch.no_grad():
        for layer in layers:
            dtype = onednn_format(layer.weight, layer.weight)
            if dtype is None or (dtype == torch.float32 and size > limit):
                return
            if layer.packing.of(layer.weight, dtype) is None:
                layer.packing.pack(layer.weight, layer.matrix(), dtype)


def _has_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether the fused call fits for weights that are not packed: in float32 alone."""
    return onednn_format(x, weight) == torch.float32
