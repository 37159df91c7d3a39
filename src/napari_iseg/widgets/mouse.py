"""Clicks in the canvas: told apart from drags, with their sign."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np

CLICK_DISTANCE = (
    5.0  # canvas pixels; beyond it a press and release is a drag, as in napari's own point adding
)
LEFT, RIGHT = 1, 2

OnClick = Callable[[Sequence[float], bool], None]
Callback = Callable[[Any, Any], Generator[None, None, None]]


def click_callback(on_click: OnClick, modifier: str | Callable[[], str]) -> Callback:
    """A napari mouse-drag callback that reports clicks and leaves drags to the camera.

    Parameters
    ----------
    on_click : called with the world position and whether the plain left button was used
    modifier : the key ("Control", "Shift") that, like the right button, makes the second argument False, or
        what is asked for it at every click
    """

    def callback(layer: Any, event: Any) -> Generator[None, None, None]:
        if str(layer.mode) != "pan_zoom" or event.button not in (LEFT, RIGHT):
            return
        key = modifier if isinstance(modifier, str) else modifier()
        plain = event.button == LEFT and key not in event.modifiers
        if set(event.modifiers) - {key}:
            return  # Alt and others belong to napari
        start, position = np.array(event.pos, float), tuple(event.position)
        distance = 0.0
        yield
        while event.type == "mouse_move":
            distance = max(distance, float(np.linalg.norm(np.asarray(event.pos) - start)))
            if distance < CLICK_DISTANCE:
                event.handled = True  # a trembling hand must not move the picture
            yield
        if max(distance, float(np.linalg.norm(np.asarray(event.pos) - start))) < CLICK_DISTANCE:
            on_click(position, plain)

    return callback
