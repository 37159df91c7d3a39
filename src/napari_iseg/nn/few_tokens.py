"""Attention between a few tokens and the thousands of places of a picture, without projecting the places."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FewTokenAttention(nn.Module):
    """Multi-head attention whose sums are taken in the cheapest order; names as segment-anything's attention.

    Scores (W_q x) . (W_k t) are x . (W_q' W_k t), so that a place x is multiplied with one vector per token
    and head instead of a projection; likewise what is brought back. With few tokens t that is a fraction of
    the work, to the same sums up to rounding.

    Parameters
    ----------
    width : channels in and out
    heads : of attention
    inner : channels of queries, keys and values, all heads together
    """

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads, self.inner = heads, inner
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, inner) for _ in range(3))
        self.out_proj = nn.Linear(inner, width)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """What queries (B, N, C) gather from keys and values (B, M, C): (B, N, C)."""
        if self.heads * q.shape[1] < min(self.inner, k.shape[1]):
            return self._ask_many(q, k, v)
        if self.heads * k.shape[1] < min(self.inner, q.shape[1]):
            return self._ask_few(q, k, v)
        queries, keys, values = self.q_proj(q), self.k_proj(k), self.v_proj(v)
        found = F.scaled_dot_product_attention(self._split(queries), self._split(keys), self._split(values))
        return self._joined(found)

    def _ask_many(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Few queries."""
        shares = self._scores(self.q_proj(q), self.k_proj, k).softmax(-1)
        found = shares.flatten(1, 2) @ v  # (B, heads * N, C)
        mixed = found.view(len(q), self.heads, -1, found.shape[-1])
        values = mixed @ self._rows(self.v_proj.weight).transpose(1, 2)
        return self._joined(values + self.v_proj.bias.view(self.heads, 1, -1))

    def _ask_few(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Few keys; scores are kept as (keys, queries), where softmax over keys is quick."""
        shares = self._scores(self.k_proj(k), self.q_proj, q).softmax(2).flatten(1, 2)
        columns = self.out_proj.weight.view(-1, self.heads, self.inner // self.heads).permute(1, 2, 0)
        brought = (self._split(self.v_proj(v)) @ columns).flatten(1, 2)  # (B, heads * M, C)
        return shares.transpose(1, 2) @ brought + self.out_proj.bias

    def _scores(self, few: Tensor, projection: nn.Linear, many: Tensor) -> Tensor:
        """(B, heads, few, many) of projected tokens with places that ``projection`` would project."""
        scaled = self._split(few) * (self.inner // self.heads) ** -0.5
        asked = (scaled @ self._rows(projection.weight)).flatten(1, 2)  # (B, heads * few, C)
        offset = (scaled @ projection.bias.view(self.heads, -1, 1)).flatten(1, 2)
        return torch.baddbmm(offset, asked, many.transpose(1, 2)).view(*scaled.shape[:3], -1)

    def _split(self, x: Tensor) -> Tensor:
        """(B, N, inner) as (B, heads, N, channels of a head)."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def _rows(self, weight: Tensor) -> Tensor:
        """A projection (inner, C) as (heads, channels of a head, C)."""
        return weight.view(self.heads, -1, weight.shape[1])

    def _joined(self, heads: Tensor) -> Tensor:
        joined: Tensor = self.out_proj(heads.transpose(1, 2).flatten(2))
        return joined
