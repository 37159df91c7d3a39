"""A predictor whose answer depends on every click, its order, its view and the plane, in microseconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from napari_iseg.backends.base import Inference
from napari_iseg.errors import CancelledError, InputError
from napari_iseg.interactive.state import State
from napari_iseg.prompts import Box, Click, Window


@dataclass
class FakeModel:
    """Name, prompts and settings; ``radius`` makes models differ."""

    name: str = "fake"
    radius: float = 8.0
    inference: Inference = field(default_factory=lambda: Inference(threshold=0.5))
    prompts: tuple[str, ...] = ("click", "box")

    @property
    def card(self) -> SimpleNamespace:
        return SimpleNamespace(name=self.name, prompts=self.prompts)


class FakePredictor:
    """A cone around every click; later clicks fade what was before a little."""

    def __init__(self, source, model, plane, steps=None) -> None:
        self.source, self.model, self.plane = source, model, plane
        self.steps = steps if steps is not None else []

    def start(self, at: Click | Box, view: Window | None = None) -> State:
        area = view or Window.of_shape(self.source.shape)
        scale = 2 if view is not None else 1
        grid = (-(-area.height // scale), -(-area.width // scale))
        probability = np.zeros(grid, np.float32)
        if isinstance(at, Box):
            rows = slice(*((int(v) - area.top) // scale for v in (at.row0, at.row1)))
            cols = slice(*((int(v) - area.left) // scale for v in (at.col0, at.col1)))
            probability[rows, cols] = 0.9
        return State(area, scale, probability)

    def step(self, state, click, *, box=None, view=None, cancelled=lambda: False) -> State:
        if cancelled():
            raise CancelledError("The prediction was stopped.")
        if click is None:
            return self.start(box, view)
        if click.row == 13:
            raise InputError("The fake refuses row 13.")
        self.steps.append(click)
        state = state or self.start(click, view)
        rows, cols = np.ogrid[: state.shape[0], : state.shape[1]]
        here = ((click.row - state.area.top) / state.scale, (click.col - state.area.left) / state.scale)
        distance = np.hypot(rows - here[0], cols - here[1]) * state.scale
        radius = self.model.radius + sum(self.plane)
        cone = np.clip(1 - distance / (2 * radius), 0, 1).astype(np.float32)
        old = state.probability * np.float32(0.97)
        new = np.maximum(old, cone) if click.positive else np.minimum(old, 1 - cone)
        return State(state.area, state.scale, new, None, (*state.clicks, click))
