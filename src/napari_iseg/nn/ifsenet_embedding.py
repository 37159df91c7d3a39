"""What a query needs to know of a support: vectors, prototypes and tokens, per label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_iseg.nn.ifsenet_fit import fit_moments
from napari_iseg.nn.ifsenet_match import (
    background_prototypes,
    choose_tokens,
    foreground_prototypes,
    masked_mean,
    rim_of,
    to_cells,
)

_MOST_NEGATIVES = 16
_DOUBLE = 0.6931471805599453  # log 2: a negative click weighs twice a background block


@dataclass
class Encoded:
    """A click-free encoding of (B, 3, H, W) images, or of one of them without the batch axis.

    ``m`` at stride 8, ``f1`` at 4, ``h`` at 8 or 16, and the image's ``texture`` at 2.
    """

    m: Tensor
    f1: Tensor
    h: Tensor
    texture: Tensor

    @property
    def fit_levels(self) -> tuple[Tensor, Tensor, Tensor]:
        """What the fitted rule looks at, from fine to coarse."""
        return self.texture, self.f1, self.m

    def row(self, index: int) -> Encoded:
        """One image of the batch."""
        return Encoded(self.m[index], self.f1[index], self.h[index], self.texture[index])

    def detach(self) -> Encoded:
        """The same without gradients."""
        return Encoded(self.m.detach(), self.f1.detach(), self.h.detach(), self.texture)

    def repeat(self, count: int) -> Encoded:
        """A batch of one as ``count`` rows, without a copy."""
        return Encoded(*(t.expand(count, -1, -1, -1) for t in (self.m, self.f1, self.h, self.texture)))


@dataclass
class LabelEmbedding:
    """One label of one support; C channels of ``m``, D of ``h``.

    Attributes
    ----------
    vector : (C,) image vector v; zeros without any foreground cell
    click : (C,) mean of ``m`` under positive clicks; zeros without any
    foreground : (P, C) prototypes
    background : (R, C) prototypes, ``bonus`` (R,) the logarithm of their weights
    tokens, background_tokens : (N, D) L2-normalised rows of ``h``
    moments : what the fitted rule needs of it, see `fit_moments`
    positives, negatives : numbers of clicks
    present : whether the label has a foreground pixel or a positive click here
    """

    vector: Tensor
    click: Tensor
    foreground: Tensor
    background: Tensor
    bonus: Tensor
    tokens: Tensor
    background_tokens: Tensor
    moments: Tensor
    positives: int
    negatives: int
    present: bool

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        parts = (self.vector, self.click, self.foreground, self.background, self.bonus)
        return sum(
            t.numel() * t.element_size() for t in (*parts, self.tokens, self.background_tokens, self.moments)
        )


def embed_label(
    encoded: Encoded,
    inside: Tensor,
    outside: Tensor,
    positive: Tensor,
    negative: Tensor,
    tokens: int,
) -> LabelEmbedding:
    """Embed one label of one support.

    Parameters
    ----------
    encoded : of the support alone, without a batch axis
    inside, outside : (H, W) float in [0, 1]: the label's mask, and what is known not to be it; both 0 where
        nothing is known. H, W are the (padded) size of the image
    positive, negative : (N, 2) rows (row, col) of clicks, in pixels of the image
    tokens : at most so many rows of ``h`` on either side
    """
    m, h = encoded.m, encoded.h
    share, other = to_cells(inside, m.shape[-2:]), to_cells(outside, m.shape[-2:])
    deep, deep_other = to_cells(inside, h.shape[-2:]), to_cells(outside, h.shape[-2:])
    painted = bool(share.sum() > 0.01)
    vector = masked_mean(m, share)
    plus = at_points(m, positive, inside.shape)
    minus = at_points(m, negative[-_MOST_NEGATIVES:], inside.shape)
    click = plus.mean(0) if len(plus) else torch.zeros_like(vector)
    if painted:
        foreground = foreground_prototypes(m, share, vector)
        fore_tokens = choose_tokens(h, deep, None, tokens)
    else:
        foreground, fore_tokens = plus, F.normalize(at_points(h, positive, inside.shape), dim=1)
    if len(plus) and painted:
        foreground = torch.cat([foreground, click[None]])
    blocks = background_prototypes(m, other)
    back_tokens = (
        choose_tokens(h, deep_other, rim_of(deep), tokens)
        if bool(deep_other.sum() > 0.01)
        else h.new_zeros(0, h.shape[0])
    )
    if len(minus) and not len(back_tokens):
        back_tokens = F.normalize(at_points(h, negative[-_MOST_NEGATIVES:], inside.shape), dim=1)
    bonus = torch.cat([m.new_zeros(len(blocks)), m.new_full((len(minus),), _DOUBLE)])
    return LabelEmbedding(
        vector if painted else click,
        click,
        foreground,
        torch.cat([blocks, minus]),
        bonus,
        fore_tokens,
        back_tokens,
        fit_moments(encoded.fit_levels, inside, outside),
        len(positive),
        len(negative),
        painted or len(positive) > 0,
    )


def at_points(features: Tensor, points: Tensor, size: Sequence[int]) -> Tensor:
    """Features (C, h, w), averaged 3 x 3, bilinearly at (N, 2) rows (row, col) of a (H, W) image: (N, C)."""
    if not len(points):
        return features.new_zeros(0, features.shape[0])
    smooth = F.avg_pool2d(features[None], 3, 1, 1, count_include_pad=False)
    scale = points.new_tensor([size[0], size[1]])
    grid = ((points + 0.5) / scale * 2 - 1)[:, [1, 0]].to(features.dtype)
    sampled = F.grid_sample(smooth, grid[None, :, None], align_corners=False, padding_mode="border")
    return sampled[0, :, :, 0].T
