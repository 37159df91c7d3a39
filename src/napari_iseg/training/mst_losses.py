"""MST's contrastive token loss and score loss (arXiv 2401.04403).

With ``published`` they are the released code's, slips included; without, what that code means to do.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_iseg.nn.mst_score import Selection

Chosen = Sequence[tuple[Selection, Selection]]  # small and large tokens of each scoring block
_ALPHA, _GAMMA, _CLAMP = 0.25, 2.0, 1e-7


def token_loss(
    chosen: Chosen, truth: Tensor, patch: int, *, published: bool = False, late: bool = False
) -> Tensor:
    """Triplet loss that draws kept tokens of the object towards the click kernel and pushes others away.

    Per block, sample and token size ``log(1 + exp(d_pos - d_neg))``, the soft margin, with the mean Euclidean
    distances of the kept object and background tokens from the kernel; averaged over all that have both.

    Parameters
    ----------
    chosen : of each scoring block
    truth : (B, 1, H, W); above 0 is object, all else (ignored pixels too) background
    patch : side of a middle patch in pixels
    published : as released: the norm runs over the tokens instead of the channels (not where ``late``), large
        tokens are skipped where small ones are, and where ``late`` their labels have 1.75 times the patch
        (28 pixels) although the tokens have twice it (32)
    late : the branches 224 and 1024, which have another version of the loss

    Returns
    -------
    () float32; 0 when no sample has both kinds of tokens
    """
    terms: list[Tensor] = []
    coarse = patch * 7 // 4 if published and late else 2 * patch
    for small, large in chosen:
        for sample in range(len(truth)):
            label = truth[sample : sample + 1]
            for tokens, side in ((small, patch // 2), (large, coarse)):
                term = _triplet(tokens, sample, _cells(label, side)[0], across=published and not late)
                if term is None and published:
                    break
                if term is not None:
                    terms.append(term)
    return torch.stack(terms).mean() if terms else truth.new_zeros(())


def _triplet(tokens: Selection, sample: int, label: Tensor, *, across: bool) -> Tensor | None:
    """The soft margin of one sample, or None where it has no object or no background token."""
    # Slots that are empty in every sample are left out; one that is empty here only stays, a zero vector.
    used = tokens.tokens.detach().abs().sum((0, 2)) > 0
    slots, index = tokens.tokens[sample, used].float(), tokens.index[sample, used]
    inside = (label.flatten() > 0)[index]
    if not inside.any() or inside.all():
        return None
    away = tokens.kernel[sample] - slots
    axis = 0 if across else 1
    near = torch.linalg.vector_norm(away[inside], dim=axis).mean()
    far = torch.linalg.vector_norm(away[~inside], dim=axis).mean()
    return F.softplus(near - far)


def score_loss(
    chosen: Chosen, truth: Tensor, patch: int, *, squared: bool = False, published: bool = False
) -> Tensor:
    """Draws each token's score towards 1 on the object and 0 elsewhere; half small, half large tokens.

    Parameters
    ----------
    chosen : of each scoring block
    truth : (B, 1, H, W), 1 object, 0 background, -1 ignored
    patch : side of a middle patch in pixels
    squared : mean squared error, as in the branches 224 and 1024, else the focal loss (alpha 0.25, gamma 2)
    published : as released: with ``squared``, ignored tokens are drawn towards -1

    Returns
    -------
    () float32, mean over blocks; samples without a positive click (all scores 0) are left out, and 0 is the
    answer when none is left (NaN in the released code)
    """
    halves = []
    for pair in chosen:
        for tokens, side in zip(pair, (patch // 2, 2 * patch), strict=True):
            clicked = tokens.scores.detach().sum(1) > 0
            scores, label = tokens.scores[clicked].float(), _cells(truth, side)[clicked].flatten(1)
            if not clicked.any():
                halves.append(truth.new_zeros(()))
            elif squared:
                wrong = (scores - label).square()
                halves.append((wrong if published else wrong * (label >= 0)).mean())
            else:
                halves.append(_focal(scores, label).mean())
    return torch.stack(halves).mean() if halves else truth.new_zeros(())


def _focal(scores: Tensor, label: Tensor) -> Tensor:
    """Focal loss of probabilities, 0 where the label is neither 1 nor 0."""
    scores = scores.clamp(_CLAMP, 1 - _CLAMP)
    inside = -_ALPHA * (1 - scores) ** _GAMMA * scores.log()
    outside = -(1 - _ALPHA) * scores**_GAMMA * (1 - scores).log()
    return torch.where(label == 1, inside, torch.where(label == 0, outside, torch.zeros_like(scores)))


def _cells(truth: Tensor, side: int) -> Tensor:
    """(B, 1, H, W) -> (B, H // side, W // side), nearest."""
    size = (truth.shape[-2] // side, truth.shape[-1] // side)
    return F.interpolate(truth.float(), size=size, mode="nearest")[:, 0]
