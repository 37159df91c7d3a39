"""Predictor: from clicks on one plane to the probability of the object, without a GUI."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from napari_iseg.errors import InputError
from napari_iseg.interactive.area import CONTEXT, check_inside, first_area, grid_shape, grown
from napari_iseg.interactive.rules import window_rule
from napari_iseg.interactive.state import State
from napari_iseg.prompts import Box, Click, Window

if TYPE_CHECKING:
    from torch import Tensor

    from napari_iseg.backends.model import Model
    from napari_iseg.images import PlaneSource

_KEPT_AREAS = 3  # area images kept: the present one and those that undo returns to


def never() -> bool:
    """Work that nobody cancels."""
    return False


class Predictor:
    """Predicts one plane of an image with one model.

    Every state is a function of (state before, click, view) alone, so that replaying clicks gives the same
    bits. A predictor may be used from several threads.

    Parameters
    ----------
    source : PlaneSource
    model : Model
        Its ``inference`` holds all settings (window rule, flip, refinement).
    plane : tuple of int
        Index on the leading axes of the source.
    context : int or None
        Planes up to this side are worked on whole; larger ones in an area of about this many pixels. None
        works on the whole plane always, which is what the published evaluation does.
    """

    def __init__(
        self, source: PlaneSource, model: Model, plane: tuple[int, ...] = (), *, context: int | None = CONTEXT
    ) -> None:
        self.source = source
        self.model = model
        self.plane = tuple(plane)
        self.context = context
        self.rule = window_rule(model.inference)
        self._images: OrderedDict[tuple[Window, int], Tensor] = OrderedDict()
        self._lock = Lock()

    def start(self, at: Click | Box, view: Window | None = None) -> State:
        """The empty state before the first prompt of an object: its area, no clicks, probability 0."""
        area, scale = first_area(self.source.shape, at, view, self.context)
        return State(area, scale, np.zeros(grid_shape(area, scale), np.float32))

    def step(
        self,
        state: State | None,
        click: Click,
        *,
        box: Box | None = None,
        view: Window | None = None,
        cancelled: Callable[[], bool] = never,
    ) -> State:
        """The state after one more click.

        Parameters
        ----------
        state : State or None
            The state before; None for the first click.
        click : Click
            In level-0 pixels of the plane.
        box : Box or None
            For models that take boxes.
        view : Window or None
            What the viewer shows, in level-0 pixels; decides the area of the first click on a large plane.
        cancelled : callable
            Asked before every pass of the network.

        Raises
        ------
        InputError
            If the click lies outside the plane, or a box is given to a model without boxes.
        CancelledError
            If ``cancelled()`` turned true.

        Notes
        -----
        While there is neither a positive click nor a mask there is no object: the answer is empty, and the
        network is not asked.
        """
        check_inside(click, self.source.shape)
        if box is not None:
            _refuse_box(self.model)
        threshold = self.model.inference.threshold
        before = self.start(click, view) if state is None else state
        before = grown(before, click, self.source.shape, self.context, threshold)
        now = replace(before, clicks=(*before.clicks, click))
        if not any(c.positive for c in now.clicks) and not (now.probability > threshold).any():
            return now
        from napari_iseg.interactive.refine import (
            run_passes,  # torch, which a viewer without a model must not load
        )

        return run_passes(self.model, self.rule, self._image(now.area, now.scale), now, cancelled)

    def _image(self, area: Window, scale: int) -> Tensor:
        """(3, rows, cols) float32 of the area grid, read once."""
        import torch

        with self._lock:
            if (area, scale) not in self._images:
                pixels = self.source.read(area, self.plane, scale)
                self._images[area, scale] = torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, 2, 0)))
            self._images.move_to_end((area, scale))
            while len(self._images) > _KEPT_AREAS:
                self._images.popitem(last=False)
            return self._images[area, scale]


def _refuse_box(model: Model) -> None:
    """No network takes boxes yet; a backend that does gets its own way here."""
    from napari_iseg.backends import BACKENDS

    able = (
        ", ".join(sorted(name for name, backend in BACKENDS.items() if "box" in backend.prompts))
        or "none yet"
    )
    raise InputError(
        f"The model {model.card.name!r} does not take boxes; click on the object instead "
        f"(backends that take boxes: {able})."
    )
