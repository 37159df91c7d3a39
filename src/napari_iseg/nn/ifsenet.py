"""IFSENet: clicks on support images give masks on them and on images nobody clicked on (arXiv 2403.15089).

The paper's text, tables and code are not public beyond the abstract; this network follows what is known of
its structure and decides the rest, see docs/methods.md. One click-free encoder serves both paths: prototypes
and query features then live in one space, and features can be cached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_iseg.errors import CheckpointError
from napari_iseg.nn.click_net import ClickNet
from napari_iseg.nn.click_unet import ClickUNet
from napari_iseg.nn.ifsenet_embedding import Encoded, LabelEmbedding, embed_label
from napari_iseg.nn.ifsenet_encoder import ConvEncoder, Levels, ResNetEncoder
from napari_iseg.nn.ifsenet_fit import fit_map, solve
from napari_iseg.nn.ifsenet_match import nearest_similarity, stretched, top_similarity
from napari_iseg.nn.ifsenet_parts import ConvNorm, resize
from napari_iseg.nn.ifsenet_query import Condition, QueryAnswer, QueryPath
from napari_iseg.nn.ifsenet_support import SupportPath
from napari_iseg.nn.textures import textures


@dataclass(frozen=True)
class IfsenetSizes:
    """What a variant describes.

    Parameters
    ----------
    encoder : "resnet50", "resnet18" (any timm ResNet), or "conv", the trunk of the click starter
    stride : of the last level, 8 or 16 ("conv": 16)
    widths, depths : of "conv", see `ConvEncoder`
    channels : of the comparison space ``m`` and of both paths
    rates : dilations of the support decoder
    fusion : "cached" (B), "paper" (A), see `SupportPath`; with "conv" also "both": B, and for a closer look
        the click starter's network as the support path's own
    guidance : click distances as prompts instead of RITM's disks
    tokens : rows of ``h`` kept per support and side
    """

    encoder: str = "resnet50"
    stride: int = 16
    widths: tuple[int, ...] = (24, 48, 96, 160)
    depths: tuple[int, ...] = (1, 1, 2, 3)
    channels: int = 256
    rates: tuple[int, ...] = (6, 12, 18)
    fusion: str = "cached"
    guidance: bool = False
    tokens: int = 512


class IfseNet(ClickNet):
    """Support path, query path and the space that they share."""

    training_methods = ("encode", "support_logits", "own_trained", "condition", "query", "gated", "embed")

    def __init__(self, sizes: IfsenetSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoder = self._encoder()
        self.divisor = 32
        first, second, third, _ = self.encoder.channels
        self.middle = ConvNorm(second + third, sizes.channels, 1)
        self.support = SupportPath(
            sizes.channels,
            first,
            sizes.rates,
            guidance=sizes.guidance,
            fusion=sizes.fusion,
            first_channels=self.encoder.first_channels,
        )
        # Fusion "paper": the support path's own ResNet, as the paper has one per path.
        self.own_encoder = self._encoder() if sizes.fusion == "paper" else None
        self.own_middle = ConvNorm(second + third, sizes.channels, 1) if sizes.fusion == "paper" else None
        self.own = ClickUNet(sizes.widths, sizes.depths) if sizes.fusion == "both" else None
        self.query_path = QueryPath(sizes.channels, first)
        self.gate = nn.Linear(3, 1)
        self.prior_bias = nn.Parameter(torch.zeros(()))
        self.prior_temperature = nn.Parameter(torch.tensor(-2.3))  # logarithm; tau = 0.1
        self.ridge = nn.Parameter(torch.tensor(-3.0))  # logarithm; 0.05

    def _encoder(self) -> ConvEncoder | ResNetEncoder:
        if self.sizes.encoder == "conv":
            return ConvEncoder(self.sizes.widths, self.sizes.depths)
        return ResNetEncoder(self.sizes.encoder, self.sizes.stride)

    def forward(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> Tensor:
        """The support path (its own network, if it has one) as a click model, see `ClickNet.forward`.

        Any size, padded inside.
        """
        if self.own is not None:
            answer: Tensor = self.own(image, prev_mask, clicks)
            return answer
        height, width = image.shape[-2:]
        image, prev_mask = padded(image, self.divisor), padded(prev_mask, self.divisor)
        logits = self.support_logits(self.encode(image), image, prev_mask, clicks)
        return logits[..., :height, :width].float()

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Refused: no checkpoint has been published to be compared with.

        Raises
        ------
        CheckpointError
            Always.
        """
        del state
        raise CheckpointError(
            "No IFSENet checkpoint has been published; load a model trained here by its card or its folder."
        )

    def encode(self, image: Tensor) -> Encoded:
        """Encode images (B, 3, H, W) in [0, 1] with sides that are multiples of ``divisor``."""
        levels = self.encoder(image)
        return Encoded(self._middle(levels, self.middle), levels.f1, levels.f4, textures(image.float()))

    def scored(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> tuple[Tensor, Tensor]:
        """See `ClickNet.scored`; by the quality head of the support path's own network, if there is one."""
        return (
            super().scored(image, prev_mask, clicks)
            if self.own is None
            else self.own.scored(image, prev_mask, clicks)
        )

    def own_trained(self, image: Tensor, previous: Tensor, clicks: Tensor) -> tuple[Tensor, Tensor]:
        """Of fusion "both": the own network's logits and what its quality head says of them, a logit (B,)."""
        assert self.own is not None, "only fusion 'both' has a click network of its own"
        return self.own.trained(image, previous, clicks)

    def support_logits(self, encoded: Encoded, image: Tensor, previous: Tensor, clicks: Tensor) -> Tensor:
        """Support masks (B, 1, H, W) as logits.

        Parameters
        ----------
        encoded : of ``image``; not looked at in fusion "paper", which encodes image and clicks together
        image : (B, 3, H, W)
        previous : (B, 1, H, W) probability, zeros at first
        clicks : (B, 2N, 3) as in `ClickNet.forward`
        """
        maps = self.support.maps(image, previous, clicks)
        if self.own_encoder is None or self.own_middle is None or self.support.early is None:
            logits = self.support(encoded.m, encoded.f1, maps.to(encoded.m.dtype))
        else:
            levels = self.own_encoder(image, self.support.early(maps))
            logits = self.support(self._middle(levels, self.own_middle), levels.f1, maps)
        return resize(logits.float(), image.shape[-2:])

    def embed(
        self, encoded: Encoded, inside: Tensor, outside: Tensor, positive: Tensor, negative: Tensor
    ) -> LabelEmbedding:
        """One label of one support, see `embed_label`."""
        return embed_label(encoded, inside, outside, positive, negative, self.sizes.tokens)

    def gated(self, label: LabelEmbedding, reliability: float) -> Tensor:
        """u (C,): the image vector, or the click vector where the mask deserves little trust."""
        if not label.positives:
            return label.vector
        counts = torch.tensor([label.positives, label.negatives], dtype=torch.float32).log1p()
        known = torch.cat([counts.new_tensor([reliability]), counts]).to(label.vector)
        share: Tensor = self.gate(known).sigmoid()
        return share * label.vector + (1 - share) * label.click

    def condition(
        self,
        encoded: Encoded,
        labels: Sequence[LabelEmbedding],
        reliabilities: Sequence[float],
        log_weights: Tensor,
        previous: Tensor,
        others: Tensor | None = None,
    ) -> Condition:
        """What one query learns of one label from its supports.

        Parameters
        ----------
        encoded : of the query alone, without a batch axis
        labels : of the supports; those without the label give background only
        reliabilities, log_weights : of the supports, the latter (k,) with weights that sum to 1
        previous : (1, H, W) what neighbouring slices say, -1 to 1, padded as the image is; 0 where nothing
        others : (P, C) foreground prototypes of the other labels: strong negatives
        """
        m, h = encoded.m, encoded.h
        with_label = [i for i, label in enumerate(labels) if label.present]
        weights = log_weights[with_label].softmax(0)
        vector = sum_of(weights, [self.gated(labels[i], reliabilities[i]) for i in with_label])
        click = sum_of(weights, [labels[i].click for i in with_label])
        length = vector.norm().clamp(min=1e-6)
        scale = sum_of(weights, [labels[i].vector.norm()[None] for i in with_label])[0]
        vector = vector / length * scale  # re-normalised: averaging shortens
        size = m.shape[-2:]
        prior = sum_of(weights, [self._prior(h, labels[i]).flatten() for i in with_label])
        prior = resize(prior.view(1, 2, *h.shape[-2:]), size)[0]
        margin = self._margin(m, labels, log_weights, others)
        fit = solve([label.moments for label in labels], log_weights.exp(), self.ridge.exp())
        return Condition(
            torch.cat([vector, click]),
            prior,
            margin[None],
            fit_map(encoded.fit_levels, fit),
            F.avg_pool2d(previous, 2),
        )

    def query(
        self, encoded: Encoded, condition: Condition, size: tuple[int, int]
    ) -> tuple[Tensor, QueryAnswer]:
        """Logits (N, 1, H, W) and all of the answer; ``encoded`` has one row per (query, label) pair."""
        answer: QueryAnswer = self.query_path(encoded.m, encoded.f1, condition)
        return resize(answer.logits.float(), size), answer

    def _middle(self, levels: Levels, merge: nn.Module) -> Tensor:
        third = resize(levels.f3, levels.f2.shape[-2:])
        merged: Tensor = merge(torch.cat([levels.f2, third], 1))
        return merged

    def _prior(self, h: Tensor, label: LabelEmbedding) -> Tensor:
        like = top_similarity(h, label.tokens)
        unlike = top_similarity(h, label.background_tokens)
        calibrated = (like - unlike - self.prior_bias) / self.prior_temperature.exp()
        return torch.stack([stretched(like), calibrated.sigmoid()])

    def _margin(
        self, m: Tensor, labels: Sequence[LabelEmbedding], log_weights: Tensor, others: Tensor | None
    ) -> Tensor:
        fore = [(label.foreground, w) for label, w in zip(labels, log_weights, strict=True) if label.present]
        inside = nearest_similarity(
            m, torch.cat([rows for rows, _ in fore]), torch.cat([w.expand(len(rows)) for rows, w in fore])
        )
        back = [label.background for label in labels]
        bonus = [label.bonus + w for label, w in zip(labels, log_weights, strict=True)]
        if others is not None and len(others):
            back.append(others)
            bonus.append(others.new_zeros(len(others)))
        return inside - nearest_similarity(m, torch.cat(back), torch.cat(bonus))


def sum_of(weights: Tensor, rows: Sequence[Tensor]) -> Tensor:
    """Weighted sum of equal-sized vectors."""
    return (weights[:, None].to(rows[0].dtype) * torch.stack(list(rows))).sum(0)


def support_log_weights(
    reliabilities: Sequence[float],
    likeness: Tensor,
    distances: Sequence[float],
    reach: float,
    beta: float = 10.0,
) -> Tensor:
    """log w_i of section 3.6: reliability, likeness of the whole images (k,) and distance; weights sum to 1.

    ``reach`` is lambda, in the unit of the distances; 0 switches distance off.
    """
    trusted = torch.tensor([max(r, 1e-3) for r in reliabilities], device=likeness.device, dtype=torch.float32)
    logs = trusted.log() + beta * likeness
    if reach > 0:
        logs = logs - torch.tensor(list(distances), device=likeness.device, dtype=logs.dtype) / reach
    return logs.log_softmax(0)


def padded(x: Tensor, divisor: int) -> Tensor:
    """(B, C, H, W) padded at the bottom and right to multiples, by repeating the border."""
    right, bottom = -x.shape[-1] % divisor, -x.shape[-2] % divisor
    return F.pad(x, (0, right, 0, bottom), mode="replicate") if right or bottom else x
