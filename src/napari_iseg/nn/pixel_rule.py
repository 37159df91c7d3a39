"""A rule per pixel, fitted to the clicks of one picture in closed form: is this pixel like those clicked on?

Ours. Ridge regression on learned features, as R2-D2 (arXiv 1805.08136) fits one for whole images: the
pixels under object clicks say 1, those under background clicks -1, and so does, as a weak opinion, the
picture at large; and what the rule before the newest click made of the picture holds, as another.
Gradients flow through the solutions, so that the features learn to be fitted to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from napari_iseg.nn.exact import exact

RADIUS = 1.5  # pixels around a click that are taken to be like it
_BIAS_PENALTY = 1e-4

Rows = Callable[[Tensor], Tensor]  # (n, 2) whole (row, col) -> (n, D) features there


class Evidence(NamedTuple):
    """Features (n, D) of the pixels under so many clicks of one sign."""

    rows: Tensor
    clicks: int


class Fitted(NamedTuple):
    """A rule: logit of a pixel = ``kernel`` (D,) times its features + ``bias`` ()."""

    kernel: Tensor
    bias: Tensor


class PixelRule(nn.Module):
    """What is learned of the fit: its penalty, what each kind of evidence weighs, and how sure it is."""

    def __init__(self) -> None:
        super().__init__()
        self.penalty = nn.Parameter(torch.tensor(-3.0))  # logarithm of the ridge penalty
        # Logarithms of the weights of object clicks, background clicks, the picture as background, and
        # what the rule
        # before made of the picture; the second column is times the logarithm of the number of clicks.
        self.weight = nn.Parameter(torch.zeros(4, 2))
        # Score -> logit: logarithm of the factor, and shift; by 1, log object clicks, log (1 + background
        # clicks).
        self.scale = nn.Parameter(torch.tensor([1.7, 0.0, 0.0]))
        self.shift = nn.Parameter(torch.zeros(3))

    def fit(self, positive: Evidence, negative: Evidence, anywhere: Tensor, before: Fitted | None) -> Fitted:
        """The rule of some clicks, given that of the clicks before the newest.

        Parameters
        ----------
        positive, negative : features under the object clicks, at least one, and under the background clicks
        anywhere : (A, D) features of the picture at large
        before : None at the first object click; the rule is then fitted twice
        """
        with exact(anywhere):
            return self._fitted(positive, negative, anywhere, before)

    def _fitted(
        self, positive: Evidence, negative: Evidence, anywhere: Tensor, before: Fitted | None
    ) -> Fitted:
        weight = self._weights(positive.clicks, negative.clicks, anywhere)
        given = [
            (positive.rows, positive.rows.new_ones(len(positive.rows)), weight[0]),
            (anywhere, -anywhere.new_ones(len(anywhere)), weight[2]),
        ]
        if negative.clicks:
            given.append((negative.rows, -negative.rows.new_ones(len(negative.rows)), weight[1]))
        if before is None:
            before = self._certain(self._solved(given), positive.clicks, negative.clicks)
        believed = torch.tanh((anywhere @ before.kernel + before.bias) / 2)  # 2 p - 1
        rule = self._solved([*given, (anywhere, believed, weight[3])])
        return self._certain(rule, positive.clicks, negative.clicks)

    def _weights(self, positive: int, negative: int, like: Tensor) -> Tensor:
        counts = like.new_tensor([positive, max(1, negative), positive + negative, positive + negative])
        weight = self.weight.to(like.dtype)
        return (weight[:, 0] + weight[:, 1] * counts.log()).exp()

    def _certain(self, rule: Fitted, positive: int, negative: int) -> Fitted:
        known = rule.kernel.new_tensor([1.0, math.log(positive), math.log1p(negative)])
        scale = (self.scale.to(known.dtype) @ known).exp()
        return Fitted(scale * rule.kernel, scale * rule.bias + self.shift.to(known.dtype) @ known)

    def _solved(self, groups: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Fitted:
        """Least squares over (features, targets, weight of the group)."""
        size = groups[0][0].shape[1] + 1
        moments, wanted = groups[0][0].new_zeros(size, size), groups[0][0].new_zeros(size)
        total = groups[0][0].new_zeros(())
        for features, targets, weight in groups:
            rows = torch.cat([features, features.new_ones(len(features), 1)], 1)
            moments = moments + weight / len(rows) * (rows.T @ rows)
            wanted = wanted + weight / len(rows) * (rows.T @ targets)
            total = total + weight
        ridge = (self.penalty.to(total.dtype).exp() * total).expand(size - 1)
        ridge = torch.cat([ridge, total.new_full((1,), _BIAS_PENALTY)])
        solution = torch.linalg.solve(moments + torch.diag(ridge), wanted)
        return Fitted(solution[:-1], solution[-1])


def under_clicks(clicks: Tensor, shape: tuple[int, int], radius: float = RADIUS) -> Tensor:
    """Pixels (n, 2) of a picture of ``shape`` within ``radius`` of clicks (k, 2); all of a click together.

    A pixel beyond the picture's rim counts as the nearest one inside, so every click has as many.
    """
    reach = int(radius)
    steps = torch.arange(-reach, reach + 1, device=clicks.device)
    offsets = torch.cartesian_prod(steps, steps)
    offsets = offsets[(offsets**2).sum(1) <= radius**2]
    pixels = (clicks.round().long()[:, None] + offsets).reshape(-1, 2)
    most = torch.tensor(shape, device=clicks.device) - 1
    return torch.minimum(pixels.clamp(min=0), most)


def spread(shape: tuple[int, int], count: int) -> Tensor:
    """``count`` pixels (n, 2) anywhere in a picture of ``shape``, the same ones at every call."""
    generator = torch.Generator().manual_seed(0)
    flat = torch.randint(shape[0] * shape[1], (count,), generator=generator)
    return torch.stack([flat // shape[1], flat % shape[1]], 1)


def fits(
    rule: PixelRule,
    rows: Rows,
    clicks: Tensor,
    anywhere: Tensor,
    shape: tuple[int, int],
    counts: Sequence[int],
    before: Fitted | None = None,
) -> list[Fitted]:
    """The rules after the first ``counts`` clicks each, each fitted with the one before it in mind.

    Parameters
    ----------
    rows : features at pixels
    clicks : (2N, 3) rows (row, col, order), N positive then N negative, unused rows -1
    anywhere : (A, D) features of the picture at large
    shape : of the picture
    counts : ascending; the first of them includes an object click
    before : the rule after one click less than the first of ``counts``, if it is known: saves the way there
    """
    placed = []
    for signed in clicks.chunk(2):
        used = signed[signed[:, 2] >= 0]
        used = used[used[:, 2].argsort()]
        pixels = under_clicks(used[:, :2], shape)
        placed.append((used[:, 2], rows(pixels), len(pixels) // max(1, len(used))))
    found: dict[int, Fitted] = {}
    newest = before
    for count in range(1 if before is None else counts[0], counts[-1] + 1):
        numbers = [int((order < count).sum()) for order, _, _ in placed]
        if numbers[0]:
            positive, negative = (
                Evidence(features[: n * each], n)
                for n, (_, features, each) in zip(numbers, placed, strict=True)
            )
            newest = found[count] = rule.fit(positive, negative, anywhere, newest)
    return [found[count] for count in counts]
