"""MST's scoring: small and large tokens are refreshed from the middle ones, compared with what was
clicked on, and the best of them kept.

Key names are the published ones. "Small" and "large" are the sizes of the tokens' patches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_iseg.nn.exact import added, exact
from napari_iseg.nn.fused import Linear, PatchConv, products
from napari_iseg.nn.plain_vit import Mlp

Kind = Literal["s", "l"]
_SURE = 0.65  # scores above it count towards how many slots are kept ...
_SPARE = 10  # ... of which at most so many may stay empty


@dataclass(frozen=True, slots=True)
class ScoreRules:
    """In what the published branches differ, beyond sizes.

    Parameters
    ----------
    refresh_heads : attention heads where fine and coarse tokens look at the middle ones
    expert_ratio, refresh_ratio : hidden width of the two experts and of the MLP after them, by the width
    reduce : the middle tokens are first reduced by a convolution of that stride; 1: not at all
    heads : attention heads where the middle tokens look at the kept ones
    gamma_start : initial factor on what small tokens take from large ones
    scaled : whether what the middle tokens take is scaled by a learned ``gamma2``
    score_mlp : whether an MLP follows it
    share : one of so many tokens gets a slot
    may_empty : whether up to ten slots stay empty where few scores exceed 0.65
    pooled : whether clicked tokens are pooled by attention into a kernel of unit length; else their mean
    loss_fused : whether the token loss sees the small tokens after they took from the large ones
    dropout : in the refresh, while training
    """

    refresh_heads: int
    expert_ratio: int
    refresh_ratio: int
    reduce: int
    heads: int
    gamma_start: float
    scaled: bool
    score_mlp: bool
    share: int
    may_empty: bool
    pooled: bool
    loss_fused: bool
    dropout: float = 0.0


@dataclass(frozen=True, slots=True)
class Selection:
    """What one scoring block chose of one token set, for the training losses.

    ``kernel`` (B, C), ``scores`` (B, N) of all tokens, ``index`` (B, k) of the slots' tokens in raster order,
    ``tokens`` (B, k, C) with positions, zero vectors in empty slots.
    """

    kernel: Tensor
    scores: Tensor
    index: Tensor
    tokens: Tensor


@dataclass(frozen=True, slots=True)
class MstOutput:
    """All a forward has to tell a training objective.

    ``logits`` (B, 1, H, W) float32; ``chosen`` one pair (small, large) per scoring block; ``quality`` (B,)
    logit of the expected IoU, or None without that head.
    """

    logits: Tensor
    chosen: list[tuple[Selection, Selection]]
    quality: Tensor | None


class _Unbiased(Linear):
    """A linear layer without bias."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__(inner, outer)
        self.register_parameter("bias", None)


@dataclass(frozen=True, slots=True)
class Context:
    """What a set of tokens looks at: key and value, (B, heads, M, C / heads) each.

    ``asked`` (B, heads * M, C): the keys seen through the query weights, where that is the cheaper way.
    """

    key: Tensor
    value: Tensor
    asked: Tensor | None


def _context(joint: Tensor, query: nn.Linear, heads: int) -> Context:
    """Of keys beside values (B, M, 2 C), for tokens that go through the layer ``query``."""
    batch, count, double = joint.shape
    dim = double // 2
    key, value = joint.view(batch, count, 2, heads, dim // heads).permute(2, 0, 3, 1, 4)
    if 2 * heads * count > dim:
        return Context(key, value, None)
    asked = key @ query.weight.view(heads, -1, dim)
    return Context(key, value, asked.flatten(1, 2) * (dim // heads) ** -0.5)


def _look(x: Tensor, context: Context, query: nn.Linear, last: Linear, *, gelu: bool = False) -> Tensor:
    """What every token of ``x`` (B, N, C) sees, through the layer ``last`` and perhaps a GELU: (B, N, D).

    A product of three matrices may be taken in either order. Where many tokens look (3136 at 448) and few are
    looked at (49), the query weights are multiplied with the keys, and the layer behind with the values,
    instead of both with the many tokens: the same sums with half of the work.
    """
    heads = context.key.shape[1]
    if context.asked is None:
        split = query(x).view(*x.shape[:2], heads, -1).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(split, context.key, context.value)
        out: Tensor = last(mixed.transpose(1, 2).flatten(2), gelu=gelu)
        return out
    scores = products(x, context.asked)
    weights = scores.view(*x.shape[:2], heads, -1).softmax(-1).flatten(2)
    share = last.weight.view(last.out_features, heads, -1).transpose(0, 1)
    seen = (share @ context.value.transpose(2, 3)).transpose(1, 2).flatten(2)
    return products(weights, seen, last.bias, gelu=gelu)


class CrossAttention(nn.Module):
    """One set of tokens looks at another; no bias but in the last layer."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = _Unbiased(dim, dim)
        self.kv = _Unbiased(dim, 2 * dim)
        self.proj = Linear(dim, dim)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(B, N, C) and (B, M, C) -> (B, N, C)."""
        return _look(x, _context(self.kv(context), self.q, self.heads), self.q, self.proj)


class _Expert(nn.Sequential):
    """Linear, exact GELU, linear; the GELU is fused into the first, its place in the names stays."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__(Linear(dim, hidden), nn.Identity(), Linear(hidden, dim))

    @property
    def first(self) -> Linear:
        """Into the hidden layer."""
        return cast("Linear", self[0])

    @property
    def last(self) -> Linear:
        """Out of it."""
        return cast("Linear", self[2])

    def forward(self, input: Tensor) -> Tensor:
        """(..., C) -> same."""
        out: Tensor = self.last(self.first(input, gelu=True))
        return out


class ExpertAttention(nn.Module):
    """Cross attention whose last layer is one of two experts, by the kind of token ("MoECA"); no gate."""

    def __init__(self, dim: int, rules: ScoreRules) -> None:
        super().__init__()
        self.heads = rules.refresh_heads
        self.q = _Unbiased(dim, dim)
        self.kv = _Unbiased(dim, 2 * dim)
        self.proj = nn.ModuleDict(
            {f"expert_{kind}": _Expert(dim, rules.expert_ratio * dim) for kind in ("s", "l")}
        )
        if rules.reduce > 1:
            self.sr: PatchConv | None = PatchConv(dim, dim, rules.reduce)
            self.norm: nn.LayerNorm | None = nn.LayerNorm(dim, eps=1e-5)
        else:
            self.sr, self.norm = None, None
        self.drop = nn.Dropout(rules.dropout)

    def context(self, base: Tensor, grid: tuple[int, int]) -> Context:
        """Of the middle tokens (B, rows * cols, C), for tokens of both kinds."""
        if self.sr is not None and self.norm is not None:
            cells = self.sr(base.reshape(len(base), *grid, -1).permute(0, 3, 1, 2))
            base = self.norm(cells.flatten(2).transpose(1, 2))
        return _context(self.kv(base), self.q, self.heads)

    def forward(self, x: Tensor, context: Context, kind: Kind) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        expert = cast("_Expert", self.proj[f"expert_{kind}"])
        out: Tensor = self.drop(expert.last(_look(x, context, self.q, expert.first, gelu=True)))
        return out


def _cosine(tokens: Tensor, kernel: Tensor) -> Tensor:
    """(B, N, C) and (B, C), float32 -> (B, N); `F.cosine_similarity` without its copies of all tokens."""
    with exact(tokens):
        dot = (tokens @ kernel[..., None])[..., 0]
    length, whole = (torch.linalg.vector_norm(x, dim=-1).clamp(min=1e-8) for x in (tokens, kernel[:, None]))
    cosine: Tensor = dot / (length * whole)
    return cosine


class ScoreBlock(nn.Module):
    """Refreshes a set of tokens and chooses those most like what was clicked on. Norms have eps 1e-5."""

    def __init__(self, dim: int, rules: ScoreRules) -> None:
        super().__init__()
        self.rules = rules
        self.norm1 = nn.LayerNorm(dim, eps=1e-5)
        self.norm2 = nn.LayerNorm(dim, eps=1e-5)
        self.cross_attn = ExpertAttention(dim, rules)
        self.norm3 = nn.LayerNorm(dim, eps=1e-5)
        self.cross_mlp = Mlp(dim, rules.refresh_ratio * dim)
        self.drop = nn.Dropout(rules.dropout)

    def context(self, base: Tensor, grid: tuple[int, int]) -> Context:
        """What tokens of both kinds are refreshed from."""
        return self.cross_attn.context(self.norm2(base), grid)

    def refresh(self, tokens: Tensor, context: Context, kind: Kind) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        # Added to the new tensor in place: these are the largest sets of tokens.
        mixed = added(self.cross_attn(self.norm1(tokens), context, kind), tokens)
        return added(self.drop(self.cross_mlp(self.norm3(mixed))), mixed)

    def kernel(self, base: Tensor, cells: Tensor) -> Tensor:
        """(B, C) of what lies under the positive clicks; zeros where a sample has none.

        Parameters
        ----------
        base : (B, N, C) middle tokens
        cells : (B, P) whole numbers: the token under each click, -1 for none; one token may occur twice
        """
        used = cells >= 0
        count = used.sum(1, keepdim=True).clamp(min=1)
        clicked = base.gather(1, cells.clamp(min=0)[..., None].expand(-1, -1, base.shape[-1])).float()
        clicked = clicked * used[..., None]
        if not self.rules.pooled:
            return clicked.sum(1) / count
        with exact(clicked):
            likeness = clicked @ clicked.transpose(1, 2) * clicked.shape[-1] ** -0.5
            lowest = torch.finfo(likeness.dtype).min
            weights = likeness.masked_fill(~used[:, None], lowest).softmax(-1) * used[..., None]
            return F.normalize((weights @ clicked).sum(1) / count, dim=-1)

    def select(self, tokens: Tensor, kernel: Tensor, clicked: Tensor, places: Tensor) -> Selection:
        """The tokens most like the kernel, with their positions added.

        The choice is hard and differentiable by a straight-through factor: 1 forward, the score's gradient
        backward, and only in kept slots.

        Parameters
        ----------
        tokens : (B, N, C), refreshed
        kernel : (B, C)
        clicked : (B,) bool, whether a sample has a positive click; without one all scores are 0 and every
            slot stays empty
        places : (1, N, C) positions
        """
        count, dim = tokens.shape[1], tokens.shape[2]
        scores = (_cosine(tokens.float(), kernel) + 1) / 2 * clicked[:, None]
        slots = max(1, count // self.rules.share)
        best, index = scores.topk(slots, dim=1)
        kept = clicked[:, None].expand(-1, slots)
        if self.rules.may_empty:
            sure = (scores > _SURE).sum(1, keepdim=True).clamp(min=slots - _SPARE)
            kept = kept & (torch.arange(slots, device=tokens.device) < sure)
        factor = (kept * (1 + best - best.detach()))[..., None].to(tokens.dtype)
        where = index[..., None].expand(-1, -1, dim)
        chosen = tokens.gather(1, where) + places.expand(len(tokens), -1, -1).gather(1, where)
        return Selection(kernel, scores, index, chosen * factor)
