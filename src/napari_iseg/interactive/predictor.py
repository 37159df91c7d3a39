"""Predictor: from clicks on one plane to the probability of the object, without a GUI."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError
from napari_iseg.interactive.area import CONTEXT, check_box, check_inside, first_area, grid_shape, grown
from napari_iseg.interactive.job import never
from napari_iseg.interactive.rules import window_rule
from napari_iseg.interactive.state import State, counts
from napari_iseg.own_lock import OwnLock
from napari_iseg.prompts import Box, Click, Window

if TYPE_CHECKING:
    from torch import Tensor

    from napari_iseg.backends.model import Model
    from napari_iseg.images import PlaneSource
    from napari_iseg.interactive.refine import OnePass

Bool = npt.NDArray[np.bool_]

_KEPT_AREAS = 3  # area images kept: the present one and those that undo returns to


class NoBoxesError(InputError):
    """A box given to a model that takes none."""


class Predictor:
    """Predicts one plane of an image with one model.

    Every state is a function of (state before, click, box, view) alone, so that replaying prompts gives the
    same bits. A predictor may be used from several threads.

    Parameters
    ----------
    source
        The image.
    model
        Its ``inference`` holds all settings (window rule, flip, refinement).
    plane
        Index on the leading axes of the source.
    context
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
        self._images: OrderedDict[tuple[Window, int], tuple[Tensor, Bool | None]] = OrderedDict()
        self._one_pass: OnePass | None = None
        self._lock = OwnLock()

    def start(self, at: Click | Box, view: Window | None = None) -> State:
        """The empty state before the first prompt of an object: its area, no clicks, probability 0."""
        area, scale = first_area(self.source.shape, at, view, self.context)
        return State(area, scale, np.zeros(grid_shape(area, scale), np.float32))

    def step(
        self,
        state: State | None,
        click: Click | None,
        *,
        box: Box | None = None,
        view: Window | None = None,
        cancelled: Callable[[], bool] = never,
    ) -> State:
        """The state after one more click, a box, or both.

        Parameters
        ----------
        state : State or None
            The state before; None for the first prompt.
        click : Click or None
            In level-0 pixels of the plane; None to ask for the box alone.
        box : Box or None
            The object's box, for models that take boxes; None leaves it as it was.
        view : Window or None
            What the viewer shows, in level-0 pixels; decides the area of the first click on a large plane.
        cancelled : callable
            Asked before every pass of the network.

        Raises
        ------
        InputError
            If click or box lie outside the plane, there is neither, or the model takes no boxes.
        CancelledError
            If ``cancelled()`` turned true.

        Notes
        -----
        While there is neither a positive click nor a mask there is no object: the answer is empty, and the
        network is not asked. Nor is it for a background click so far away that the area does not hold it:
        there is no object there. Where the image has no value (NaN, masked pixels) the probability is 0, and
        object clicks there, or a box with nothing but such pixels, mean no object.
        """
        now = self._prompted_state(state, click, box, view)
        if state is not None and click is not None and now.box == state.box and not counts(click, now.area):
            return now
        if not means_object(now) and not self._is_known(now):
            return now
        # Here, as it loads torch, which a viewer without a model must not.
        from napari_iseg.interactive.refine import run_passes

        if self._one_pass is None:
            self._one_pass = one_pass_of(self.model)
        image, valid = self._image(now.area, now.scale)
        if valid is None:
            return run_passes(self.model, self.rule, image, now, cancelled, self._one_pass)
        # A network finds something anywhere, also where nothing was seen.
        if not means_object(now, valid) and not self._is_known(now):
            return now
        after = run_passes(self.model, self.rule, image, now, cancelled, self._one_pass)
        return replace(after, probability=np.where(valid, after.probability, np.float32(0)))

    def _is_known(self, state: State) -> bool:
        """Whether there is a mask."""
        return bool((state.probability > self.model.inference.threshold).any())

    def _prompted_state(
        self, state: State | None, click: Click | None, box: Box | None, view: Window | None
    ) -> State:
        """The state before, with the new prompts and an area that holds them."""
        shape, threshold = self.source.shape, self.model.inference.threshold
        first = click if box is None else box
        if first is None:
            raise InputError("There is no prompt to answer; give a click or a box.")
        if click is not None:
            check_inside(click, shape)
        if box is not None:
            check_box(box, shape)
            check_takes_boxes(self.model)
        before = self.start(first, view) if state is None else state
        if state is not None and box is not None:
            for corner in _corners(box, shape):
                before = grown(before, corner, shape, self.context, threshold)
        if click is None:
            return replace(before, box=box)
        before = grown(before, click, shape, self.context, threshold)
        return replace(before, clicks=(*before.clicks, click), box=box if box is not None else before.box)

    def _image(self, area: Window, scale: int) -> tuple[Tensor, Bool | None]:
        """(3, rows, cols) float32 of the area grid, and where it has values (None: everywhere); read once."""
        import torch

        with self._lock:
            if (area, scale) not in self._images:
                pixels, valid = self.source.look(area, self.plane, scale)
                planes = np.ascontiguousarray(np.moveaxis(pixels, 2, 0))
                self._images[area, scale] = torch.from_numpy(planes), valid
            self._images.move_to_end((area, scale))
            while len(self._images) > _KEPT_AREAS:
                self._images.popitem(last=False)
            return self._images[area, scale]


def one_pass_of(model: Model) -> OnePass:
    """How the model's network is asked once, with what that keeps of an image."""
    from napari_iseg.interactive.passes import run_pass
    from napari_iseg.interactive.prompted import PromptedPass, is_prompted
    from napari_iseg.interactive.small import SmallPass
    from napari_iseg.interactive.thin import ThinPass
    from napari_iseg.weights.store import small_model_of, thin_model_of

    if is_prompted(model):
        return PromptedPass()
    ask: OnePass = SmallPass(partial(small_model_of, model)) if model.inference.small else run_pass
    return ThinPass(partial(thin_model_of, model), ask=ask) if model.inference.thin else ask


def means_object(state: State, valid: Bool | None = None) -> bool:
    """Whether a prompt says that there is an object: a positive click or a box.

    Parameters
    ----------
    valid : (rows, cols) of the area grid, where there is a value; those prompts count that hold one
    """
    if valid is None:
        return state.box is not None or any(click.positive for click in state.clicks)
    rows, cols = valid.shape
    box = state.grid_box
    if box is not None and valid[_span(box.row0, box.row1, rows), _span(box.col0, box.col1, cols)].any():
        return True
    return any(
        valid[min(rows - 1, max(0, round(click.row))), min(cols - 1, max(0, round(click.col)))]
        for click in state.grid_clicks
        if click.positive
    )


def _span(start: float, stop: float, size: int) -> slice:
    """The grid pixels that a side of a box touches."""
    return slice(max(0, int(np.floor(start))), max(0, min(size, int(np.ceil(stop)))))


def check_takes_boxes(model: Model) -> None:
    """Raise NoBoxesError unless the model takes boxes."""
    if "box" not in model.card.prompts:
        raise NoBoxesError(
            f"The model {model.card.name!r} does not take boxes; click on the object instead, or choose a "
            "model that takes them (sam-starter does)."
        )


def _corners(box: Box, shape: tuple[int, int]) -> tuple[Click, Click]:
    """First and last pixel of a box, inside the plane."""
    low = Click(max(0.0, box.row0), max(0.0, box.col0))
    return low, Click(min(shape[0], box.row1) - 1.0, min(shape[1], box.col1) - 1.0)
