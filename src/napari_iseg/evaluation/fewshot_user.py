"""A simulated person who clicks on supports, and supports as such a person leaves them."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from napari_iseg.evaluation.clicks import ClickSimulator
from napari_iseg.evaluation.fewshot_cases import Annotated
from napari_iseg.evaluation.fewshot_metrics import mean_or_nan
from napari_iseg.fewshot.base import UNKNOWN, Features, FewShotModel, Labels, Position, Support
from napari_iseg.prompts import Click

LABEL = 1


class SupportUser:
    """A person who spends each click on the support whose mask is most wrong, in its deepest error."""

    def __init__(
        self, model: FewShotModel, annotated: Sequence[Annotated], features: Sequence[Features]
    ) -> None:
        self.model = model
        self.truths = [a.truth for a in annotated]
        self.features = features
        self.simulators = [ClickSimulator(truth) for truth in self.truths]
        self.masks = [np.zeros(t.shape, bool) for t in self.truths]
        self.supports = [
            Support(str(i), a.image, np.full(a.truth.shape, UNKNOWN, np.int32))
            for i, a in enumerate(annotated)
        ]

    def click(self) -> float:
        """Make one click and let the support's mask follow; the seconds that took.

        Nobody clicks on masks that are all right: nothing changes then.
        """
        wrong = [
            int(((mask != (truth == 1)) & (truth != -1)).sum())
            for mask, truth in zip(self.masks, self.truths, strict=True)
        ]
        if not any(wrong):
            return 0.0
        # A support without a positive click is no support yet: the first click goes to each in turn.
        unclicked = [i for i, s in enumerate(self.supports) if not s.clicks and wrong[i]]
        worst = unclicked[0] if unclicked else int(np.argmax(wrong))
        click = self.simulators[worst].next(self.masks[worst])
        made = _with_click(self.supports[worst], click)
        started = time.perf_counter()
        answer = self.model.segment_support(made, self.features[worst], [LABEL])
        seconds = time.perf_counter() - started
        self.supports[worst] = made
        self.masks[worst] = answer.mask([LABEL]) == LABEL
        return seconds

    def iou(self) -> float:
        """Mean IoU of the clicked supports."""
        values = []
        for mask, truth, support in zip(self.masks, self.truths, self.supports, strict=True):
            if support.clicks:
                inside = truth == 1
                union = int(((mask | inside) & (truth != -1)).sum())
                values.append(int((mask & inside).sum()) / max(union, 1))
        return mean_or_nan(values)


def clicked_support(
    model: FewShotModel,
    features: Features,
    image: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    labels: Labels,
    wanted: Sequence[int],
    clicks: int,
    *,
    key: str,
    position: Position = (),
    whole: bool = False,
) -> Support:
    """A plane on which a person made at most ``clicks`` clicks for every label that it holds.

    Parameters
    ----------
    labels : (H, W) int32, the truth; -1 is not counted
    """
    made: list[tuple[int, Click]] = []
    for label in wanted:
        if not (labels == label).any():
            continue
        truth = np.where(labels == UNKNOWN, -1, labels == label).astype(np.int8)
        user = SupportUser(model, [Annotated(key, image, truth)], [features])
        for _ in range(clicks):
            user.click()
        made += [(label, click) for _, click in user.supports[0].clicks]
    unknown = np.full(labels.shape, UNKNOWN, np.int32)
    return Support(key, image, unknown, tuple(made), position, version=len(made), whole=whole)


def _with_click(support: Support, click: Click) -> Support:
    clicks = (*support.clicks, (LABEL, click))
    return Support(support.key, support.image, support.mask, clicks, version=support.version + 1)
