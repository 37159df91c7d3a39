"""The loss of few-shot episodes (reference section 5.4), and the forward pass that it needs.

``L = NFL(S) + 0.5 Dice(S) + BCE(Q) + Dice(Q) + mean(aux) + 0.5 L_par + 0.2 BCE(e)``: S the support masks, Q
the query mask, L_par PANet's alignment (the supports segmented back from the query's prototype), e the
presence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_iseg.nn.ifsenet import support_log_weights
from napari_iseg.nn.ifsenet_embedding import Encoded
from napari_iseg.nn.ifsenet_match import cosine_logits, masked_mean, to_cells
from napari_iseg.nn.ifsenet_query import Condition
from napari_iseg.nn.ifsenet_support import honest
from napari_iseg.training.clicks import Draw, iterative_clicks
from napari_iseg.training.iteration import quality_loss, soft_dice
from napari_iseg.training.losses import normalised_focal_loss
from napari_iseg.training.recipe import LossRecipe

WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        "support": 1.0,
        "support_dice": 0.5,
        "query": 1.0,
        "query_dice": 1.0,
        "aux": 1.0,
        "alignment": 0.5,
        "presence": 0.2,
        "quality": 0.1,
    }
)
SUPPORT_TERMS = ("support", "support_dice", "quality")  # that need no query
Batch = Mapping[str, Tensor]


@dataclass
class Supports:
    """The supports of a batch, those that exist only, in one row each; ``owner`` (R,) is the episode."""

    encoded: Encoded | None
    images: Tensor
    truth: Tensor
    clicks: Tensor
    owner: Tensor
    logits: Tensor
    quality: Tensor | None

    @property
    def maps(self) -> Encoded:
        """The encoding that queries are compared with."""
        assert self.encoded is not None, "supports were not encoded, as no query was to be asked"
        return self.encoded


def episode_terms(
    net: Any, batch: Batch, recipe: LossRecipe, free: int, draw: Draw, *, queries: bool = True
) -> dict[str, Tensor]:
    """The unweighted terms of one batch of episodes (see `EpisodeSamples` for its entries).

    Parameters
    ----------
    net : an `IfseNet` in training mode
    free : rounds of support clicks without gradient before the one that is learned from
    queries : False leaves the queries out, and with them all terms but those of the supports
    """
    supports = _support_side(net, batch, free, draw, encode=queries or net.own is None)
    terms = {
        "support": normalised_focal_loss(
            supports.logits, supports.truth, alpha=recipe.alpha, gamma=recipe.gamma
        ).mean(),
        "support_dice": soft_dice(supports.logits, supports.truth).mean(),
    }
    if supports.quality is not None:
        area = batch["support_area"][batch["support_valid"].bool()]
        judged = {"truth": supports.truth, "full_area": area}
        terms["quality"] = quality_loss(supports.logits, supports.quality, judged)
    return {**terms, **_query_terms(net, batch, supports)} if queries else terms


def _query_terms(net: Any, batch: Batch, supports: Supports) -> dict[str, Tensor]:
    query = net.encode(batch["query_image"])
    condition = _conditions(net, batch, supports, query)
    size = batch["query_truth"].shape[-2:]
    logits, answer = net.query(query, condition, (int(size[0]), int(size[1])))
    truth = batch["query_truth"]
    here = (truth.sum((1, 2, 3)) > 0).float()
    aux = [
        F.binary_cross_entropy_with_logits(part.float(), F.adaptive_avg_pool2d(truth, part.shape[-2:]))
        for part in answer.aux
    ]
    return {
        "query": F.binary_cross_entropy_with_logits(logits, truth),
        "query_dice": (soft_dice(logits, truth) * here).sum() / here.sum().clamp(min=1),
        "aux": torch.stack(aux).mean(),
        "alignment": _alignment(supports, query, logits),
        "presence": F.binary_cross_entropy_with_logits(answer.presence, here),
    }


def query_logits(net: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Query logits (B, 1, S, S) and presence logits (B,) of episodes, without any loss."""
    supports = _support_side(net, batch, 0, _first, encode=True)
    query = net.encode(batch["query_image"])
    size = batch["query_truth"].shape[-2:]
    logits, answer = net.query(query, _conditions(net, batch, supports, query), (int(size[0]), int(size[1])))
    return logits, answer.presence


def _first(count: int) -> int:
    """Nothing is drawn where nothing is learned."""
    del count
    return 0


def _support_side(net: Any, batch: Batch, free: int, draw: Draw, *, encode: bool) -> Supports:
    valid = batch["support_valid"].bool()
    owner = torch.nonzero(valid)[:, 0]
    images, truth, clicks = (batch[f"support_{name}"][valid] for name in ("image", "truth", "clicks"))
    encoded = net.encode(images) if encode else None
    fixed = None if encoded is None else encoded.detach()

    def ask(maps: Encoded | None, previous: Tensor, clicks: Tensor) -> tuple[Tensor, Tensor | None]:
        if net.own is not None:  # what looks closely learns; the path over cached features is as it is
            return net.own_trained(images, previous, clicks)  # type: ignore[no-any-return]
        return net.support_logits(maps, images, previous, clicks), None

    previous = torch.zeros_like(truth)
    training = net.training
    net.eval()
    with torch.no_grad():
        for _ in range(free):
            previous = ask(fixed, previous, clicks)[0].sigmoid()
            clicks = iterative_clicks(previous, truth, clicks, draw)
    net.train(training)
    if free and draw(5) == 0:  # previous mask dropped in a fifth of the batches
        previous = torch.zeros_like(previous)
    logits, quality = ask(encoded, previous, clicks)
    return Supports(encoded, images, truth, clicks, owner, logits, quality)


def _conditions(net: Any, batch: Batch, supports: Supports, query: Encoded) -> Condition:
    """One condition per episode, from its supports' true or predicted masks."""
    given = batch["support_given"][batch["support_valid"].bool()].bool()
    distance = batch["distance"][batch["support_valid"].bool()]
    predicted = honest(supports.logits.detach().sigmoid(), supports.clicks)
    pairs = []
    for episode in range(len(batch["query_image"])):
        rows = torch.nonzero(supports.owner == episode)[:, 0].tolist()
        labels, reliabilities = [], []
        for row in rows:
            inside = supports.truth[row, 0] if given[row] else predicted[row, 0]
            positive, negative = points_of(supports.clicks[row])
            labels.append(net.embed(supports.maps.row(row), inside, 1 - inside, positive, negative))
            reliabilities.append(1.0 if given[row] else reliability(inside, len(positive) + len(negative)))
        means = torch.stack([supports.maps.m[row].mean((1, 2)) for row in rows])
        likeness = F.cosine_similarity(means, query.m[episode].mean((1, 2))[None], dim=1)
        logs = support_log_weights(reliabilities, likeness, distance[rows].tolist(), 1.0)
        pairs.append(
            net.condition(query.row(episode), labels, reliabilities, logs, batch["previous"][episode])
        )
    return Condition.stack(pairs)


def _alignment(supports: Supports, query: Encoded, logits: Tensor) -> Tensor:
    """Cross-entropy of the supports, segmented by the prototypes of the predicted query."""
    losses = []
    for row, episode in enumerate(supports.owner.tolist()):
        share = to_cells(logits[episode, 0].sigmoid(), query.m.shape[-2:])
        inside = masked_mean(query.m[episode], share)[None]
        outside = masked_mean(query.m[episode], 1 - share)[None]
        back = cosine_logits(supports.maps.m[row], inside, outside)
        target = to_cells(supports.truth[row, 0], back.shape)
        losses.append(F.binary_cross_entropy_with_logits(back, target))
    return torch.stack(losses).mean()


def points_of(clicks: Tensor) -> tuple[Tensor, Tensor]:
    """(2N, 3) clicks to the positions (P, 2) and (R, 2) of the used positive and negative rows."""
    positive, negative = clicks.chunk(2)
    return (
        positive[positive[:, :2].amax(1) >= 0][:, :2],
        negative[negative[:, :2].amax(1) >= 0][:, :2],
    )


def reliability(probability: Tensor, clicks: int) -> float:
    """Trust in a predicted mask (H, W): mean certainty near its outline, times clicks up to three."""
    inside = (probability > 0.5).float()[None, None]
    rim = (F.max_pool2d(inside, 7, 1, 3) + F.max_pool2d(-inside, 7, 1, 3))[0, 0] > 0
    certain = (2 * probability - 1).abs()
    near = certain[rim].mean() if bool(rim.any()) else certain.mean()
    return float(near) * min(1.0, clicks / 3)
