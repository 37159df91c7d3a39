"""One pass of a network that encodes a picture once and then answers prompts (SAM, arXiv 2304.02643).

As segment-anything's predictor does it: the window fills the network's square, the logits of the answer
before are fed back as they were, a first click gets the best of three masks by the quality that the network
expects, and every other prompt gets one mask.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from napari_iseg.backends.embeddings import content_key
from napari_iseg.backends.prompt_net import PromptNet
from napari_iseg.errors import SaveError
from napari_iseg.interactive.passes import checked
from napari_iseg.interactive.state import State
from napari_iseg.interactive.zoom import WindowRule
from napari_iseg.nn.square_frame import SquareFrame
from napari_iseg.own_lock import OwnLock
from napari_iseg.prompts import Click, Window

if TYPE_CHECKING:
    from napari_iseg.backends.model import Model

_CERTAIN = 1e-4  # probabilities are kept so far from 0 and 1 when they become logits
_KNOWN_WINDOWS = 64  # whose content is remembered, so that a picture is not made anew for each click


@dataclass(frozen=True)
class Answer:
    """The mask for one window: ``logits`` (1, 1, L, L) of the square, and the expected IoU."""

    logits: Tensor
    quality: float


def is_prompted(model: Model) -> bool:
    """Whether a model encodes pictures apart from prompts."""
    return isinstance(getattr(model, "net", None), PromptNet)


class PromptedPass:
    """Asks such a model once; remembers which picture each window shows, of one plane of one image."""

    def __init__(self) -> None:
        self._keys: OrderedDict[tuple[Window, int, Window], str] = OrderedDict()
        self._lock = OwnLock()

    def __call__(self, model: Model, rule: WindowRule, image: Tensor, state: State) -> State:
        """The state with the probability, window and memory of one pass for its newest prompt.

        Of several windows of the rule the heaviest by its weights is taken.

        Parameters
        ----------
        image : (3, rows, cols) float32 in [0, 1], the area grid of ``state``
        """
        net = cast(PromptNet, model.net)
        windows = rule.windows(state)
        answers = [self._ask(model, net, image, state, window) for window in windows]
        chosen = _heaviest(rule, state, windows, answers, net.side)
        window, answer = windows[chosen], answers[chosen]
        frame = SquareFrame(window.height, window.width, net.side)
        full = np.zeros(state.shape, np.float32)
        full[window.slices] = frame.restored(answer.logits)[0, 0].sigmoid().numpy()
        # Copied: memory that inference mode made must not be kept by other threads' tensors.
        memory = answer.logits.numpy().copy()
        return replace(state, probability=rule.merge(state, full, window), zoom=window, memory=memory)

    def _ask(self, model: Model, net: PromptNet, image: Tensor, state: State, window: Window) -> Answer:
        from napari_iseg.backends.sam_net import best

        frame = SquareFrame(window.height, window.width, net.side)
        points, labels = _clicks(state.grid_clicks, window, frame)
        memory = _memory(state, window, frame, net.low)
        several = points.shape[1] == 1 and state.box is None and memory is None
        embedding = self._embedding(model, net, image, state, window)
        box = _box(state, window, frame)
        logits, quality = model.run(net.decode, embedding, points, labels, box, memory, several=several)
        chosen, expected = best(logits.float().cpu(), quality.float().cpu())
        return Answer(checked(model, chosen), float(expected[0]))

    def _embedding(self, model: Model, net: PromptNet, image: Tensor, state: State, window: Window) -> Tensor:
        """Of the window's picture: kept by its content, in memory and perhaps on disk."""
        where = (state.area, state.scale, window)
        with self._lock:
            key = self._keys.get(where)
        found = None if key is None else model.embeddings.get(key)
        if found is not None:
            return found
        rows, cols = window.slices
        picture = SquareFrame(window.height, window.width, net.side).picture(image[None, :, rows, cols])
        key = content_key(picture)
        self._remember(where, key)
        found = model.embeddings.get(key)
        if found is None:
            found = model.run(net.encode, picture)
            try:
                model.embeddings.put(key, found)
            except SaveError:  # it is in memory; a cache on disk must not end a click
                model.embeddings.disk = None
        return found

    def _remember(self, where: tuple[Window, int, Window], key: str) -> None:
        with self._lock:
            self._keys[where] = key
            self._keys.move_to_end(where)
            while len(self._keys) > _KNOWN_WINDOWS:
                self._keys.popitem(last=False)


def _heaviest(
    rule: WindowRule, state: State, windows: Sequence[Window], answers: Sequence[Answer], side: int
) -> int:
    if len(windows) == 1:
        return 0
    shown = []
    for window, answer in zip(windows, answers, strict=True):
        rows, cols = SquareFrame(window.height, window.width, side).size
        probability = answer.logits[0, 0].sigmoid().numpy().copy()
        probability[-(-rows * len(probability) // side) :] = 0  # the padding says nothing
        probability[:, -(-cols * len(probability) // side) :] = 0
        shown.append(probability)
    scores = np.array([answer.quality for answer in answers], np.float32)
    return int(np.argmax(rule.weights(state, np.stack(shown), scores)))


def _clicks(clicks: Sequence[Click], window: Window, frame: SquareFrame) -> tuple[Tensor, Tensor]:
    """Points (1, N, 2) and labels (1, N) of grid clicks in a window's square."""
    placed = [(click.row - window.top, click.col - window.left) for click in clicks]
    positions = torch.tensor(placed, dtype=torch.float32, device="cpu").reshape(1, -1, 2)
    signs = torch.tensor([[float(click.positive) for click in clicks]], device="cpu")
    return frame.points(positions), signs


def _box(state: State, window: Window, frame: SquareFrame) -> Tensor | None:
    """The box (1, 4) x0, y0, x1, y1 in a window's square, where there is one."""
    box = state.grid_box
    if box is None:
        return None
    corners = [
        [box.row0 - window.top, box.col0 - window.left],
        [box.row1 - window.top, box.col1 - window.left],
    ]
    return frame.points(torch.tensor(corners, dtype=torch.float32, device="cpu")).reshape(1, 4)


def _memory(state: State, window: Window, frame: SquareFrame, low: int) -> Tensor | None:
    """What to feed back: the logits of the answer before; where the window has changed, its mask."""
    if state.memory is not None and state.zoom == window:
        return torch.from_numpy(state.memory.copy())  # copied, because torch refuses read-only memory
    rows, cols = window.slices
    probability = state.probability[rows, cols]
    if not (probability > 0.5).any():
        return None
    logits = torch.logit(torch.from_numpy(probability.copy()), _CERTAIN)
    return frame.reduced(logits[None, None], low)
