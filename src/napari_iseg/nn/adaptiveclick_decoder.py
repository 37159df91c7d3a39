"""AdaptiveClick's click-aware mask-adaptive decoder: queries look where their mask or a click is.

Each layer's queries attend to one level of the pixel decoder, masked by their own mask of the layer before
and opened around positive clicks; every state of the queries gives a class and a mask (deep supervision).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_iseg.nn.adaptiveclick_pixels import LEVELS, Level
from napari_iseg.nn.deformable import Shape
from napari_iseg.nn.exact import exact
from napari_iseg.nn.fused import Linear, linear

HEADS = 8


class Prediction(NamedTuple):
    """What the queries say after a layer.

    ``classes`` : (B, Q, 2) logits, index 1 is "the object"; ``masks`` : (B, Q, h, w) logits
    """

    classes: Tensor
    masks: Tensor

    @property
    def weights(self) -> Tensor:
        """(B, Q) how much each mask counts in the answer."""
        return self.classes[..., 1].float().sigmoid()

    def combined(self, size: Shape) -> Tensor:
        """(B, 1, *size) logits: masks weighted by the sigmoid of the object's class logit, summed, enlarged.

        The published code enlarges all masks and then sums; both are linear.
        """
        with exact(self.masks):
            mask = torch.einsum("bq,bqhw->bhw", self.weights, self.masks.float())[:, None]
        return F.interpolate(mask, size=size, mode="bilinear", align_corners=True)


class MultiHead(nn.Module):
    """Multi-head attention with the packed weights and names of ``torch.nn.MultiheadAttention``."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None = None) -> Tensor:
        """Attention of ``query`` (B, Q, C) over ``key`` and ``value`` (B, N, C), as ``allowed`` (B, Q, N)."""
        dim = query.shape[-1]
        weights, biases = torch.split(self.in_proj_weight, dim), torch.split(self.in_proj_bias, dim)
        heads = [
            linear(x, weight, bias).view(*x.shape[:2], HEADS, -1).transpose(1, 2)
            for x, weight, bias in zip((query, key, value), weights, biases, strict=True)
        ]
        mask = None if allowed is None else allowed[:, None]
        mixed = F.scaled_dot_product_attention(heads[0], heads[1], heads[2], attn_mask=mask)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out


class CrossLayer(nn.Module):
    """Queries attend to a level; norm after."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.multihead_attn = MultiHead(dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, content: Tensor, place: Tensor, key: Tensor, value: Tensor, allowed: Tensor) -> Tensor:
        """(B, Q, C) -> same."""
        mixed = self.multihead_attn(content + place, key, value, allowed)
        out: Tensor = self.norm(content + mixed)
        return out


class SelfLayer(nn.Module):
    """Queries attend to each other; norm after."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.self_attn = MultiHead(dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, content: Tensor, place: Tensor) -> Tensor:
        """(B, Q, C) -> same."""
        query = content + place
        out: Tensor = self.norm(content + self.self_attn(query, query, content))
        return out


class FeedForward(nn.Module):
    """Two linear layers with a ReLU; norm after."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.linear1 = Linear(dim, hidden)
        self.linear2 = Linear(hidden, dim)
        self.norm = nn.LayerNorm(dim)
        for layer in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, content: Tensor) -> Tensor:
        """(B, Q, C) -> same."""
        out: Tensor = self.norm(content + self.linear2(F.relu(self.linear1(content))))
        return out


class MaskVector(nn.Module):
    """Three linear layers with ReLU between them."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Linear(dim, dim) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        out: Tensor = self.layers[-1](x)
        return out


class ClickAwareDecoder(nn.Module):
    """The decoder; key names as published.

    Parameters
    ----------
    dim : width, a multiple of 8
    hidden : of the feed-forward parts
    layers : number of layers; there is one prediction more, before the first
    queries : number of queries
    """

    def __init__(self, dim: int, hidden: int, layers: int, queries: int) -> None:
        super().__init__()
        self.transformer_self_attention_layers = nn.ModuleList(SelfLayer(dim) for _ in range(layers))
        self.transformer_cross_attention_layers = nn.ModuleList(CrossLayer(dim) for _ in range(layers))
        self.transformer_ffn_layers = nn.ModuleList(FeedForward(dim, hidden) for _ in range(layers))
        self.decoder_norm = nn.LayerNorm(dim)
        self.query_feat = nn.Embedding(queries, dim)
        self.query_embed = nn.Embedding(queries, dim)
        self.level_embed = nn.Embedding(LEVELS, dim)
        self.class_embed = nn.Linear(dim, 2)
        self.mask_embed = MaskVector(dim)

    def forward(
        self, levels: Sequence[Level], mask_features: Tensor, disks: Tensor, base: Tensor | None = None
    ) -> list[Prediction]:
        """All predictions: before the first layer and after each.

        Parameters
        ----------
        levels : coarsest first
        mask_features : (B, C, h, w)
        disks : (B, 1, H, W) of 0 and 1 around the positive clicks, in pixels of the network's input
        base : (B, 1, h, w) logits that every query's mask is a change of; the published network has none
        """
        batch = mask_features.shape[0]
        values = [level.tokens + embed for level, embed in zip(levels, self.level_embed.weight, strict=True)]
        keys = [value + level.code for value, level in zip(values, levels, strict=True)]
        clicked = click_maps(disks, [level.shape for level in levels])
        content = self.query_feat.weight.expand(batch, -1, -1)
        place = self.query_embed.weight
        predictions = [self.predict(content, mask_features, base)]
        layers = zip(
            self.transformer_cross_attention_layers,
            self.transformer_self_attention_layers,
            self.transformer_ffn_layers,
            strict=True,
        )
        for i, (cross, own, feed) in enumerate(layers):
            level = i % len(levels)
            blocked = blocked_places(predictions[-1], clicked[level], levels[level].shape)
            # Who may look nowhere may look everywhere.
            allowed = ~blocked | blocked.all(-1, keepdim=True)
            content = feed(own(cross(content, place, keys[level], values[level], allowed), place))
            predictions.append(self.predict(content, mask_features, base))
        return predictions

    def predict(self, content: Tensor, mask_features: Tensor, base: Tensor | None = None) -> Prediction:
        """What queries (B, Q, C) say."""
        normal = self.decoder_norm(content)
        masks = torch.einsum("bqc,bchw->bqhw", self.mask_embed(normal), mask_features)
        return Prediction(self.class_embed(normal), masks if base is None else masks + base)


def click_maps(disks: Tensor, shapes: Sequence[Shape]) -> list[Tensor]:
    """Places (B, 1, rows * cols) bool of each level that a positive click opens.

    The disks are max-pooled (kernel 3, stride 2) as often as their width can be halved before it falls below
    the level's, then resized to the level, which does nothing where the widths differ by a power of two.
    """
    halves: list[Tensor] = [disks]
    maps = []
    for rows, cols in shapes:
        count = max(0, (disks.shape[-1] // cols).bit_length() - 1)
        while len(halves) <= count:
            halves.append(F.max_pool2d(halves[-1], 3, 2, 1))
        near = halves[count]
        if near.shape[-2:] != (rows, cols):
            near = F.interpolate(near, size=(rows, cols), mode="bilinear", align_corners=False)
        maps.append((near >= 0.5).flatten(2))
    return maps


@torch.no_grad()
def blocked_places(prediction: Prediction, clicked: Tensor, shape: Shape) -> Tensor:
    """Where each query may not look, (B, Q, rows * cols) bool.

    Blocked is what lies outside of the query's own mask and not near a positive click; clicks count for
    queries of the object's class only.
    """
    masks = F.interpolate(prediction.masks, size=shape, mode="bilinear", align_corners=False)
    outside = masks.flatten(2).sigmoid() < 0.5
    is_object = prediction.classes.argmax(-1, keepdim=True) == 1
    return outside & ~(clicked & is_object)
