"""Clicks of a few-shot run: the layer that they are made in, and word of every change of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_iseg.fewshot.collect import Clicks
from napari_iseg.fewshot.support_store import SupportRef
from napari_iseg.widgets.mouse import click_callback
from napari_iseg.widgets.placement import Placement, PlaneAxes
from napari_iseg.widgets.reports import warn
from napari_iseg.widgets.scene import image_shape

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Points

BACKGROUND = ("x", "cross", "hbar")  # symbols of clicks on background
CLICKS = "napari-iseg few-shot clicks"  # in the metadata of a layer that was made here
_LOOKS = {True: ("disc", "lime"), False: ("hbar", "red")}  # as in the click dock
_EVENTS = ("data", "symbol", "features")


def new_clicks(
    viewer: napari.Viewer,
    image: Image,
    label: Callable[[], int],
    modifier: str,
    clicks: Clicks,
    axes: PlaneAxes,
) -> Points:
    """A layer for clicks on an image, ready to be clicked in as in the click dock.

    Parameters
    ----------
    label : asked at every click for the label that it belongs to
    modifier : the key ("Control", "Shift") that, like the right button, makes a background click
    clicks, axes : those that it holds from the start, and the planes that they are on
    """
    from napari.layers import Points

    known = [(axes.join(plane, c.row, c.col), n, c.positive) for plane, x in clicks.items() for n, c in x]
    layer = Points(
        np.asarray([place for place, _, _ in known], float).reshape(-1, axes.ndim),
        name=f"{image.name} corrections",
        features={"label": np.asarray([number for _, number, _ in known], int)},
        symbol=[_LOOKS[sign][0] for _, _, sign in known] or "disc",
        face_color=[_LOOKS[sign][1] for _, _, sign in known] or "lime",
        metadata={CLICKS: True},
        size=4,  # pixels of the image
        **Placement.of(image).whole(),
    )
    layer.feature_defaults = {"label": [1]}

    def click(position: Sequence[float], on_object: bool) -> None:
        place = layer.world_to_data(position)
        pixel = np.round(np.asarray(image.world_to_data(position))[-len(image_shape(image)) :])
        if viewer.dims.ndisplay == 3 or (pixel < 0).any() or (pixel >= image_shape(image)).any():
            return
        layer.selected_data = set()  # else napari gives the looks of this click to the one before too
        layer.current_symbol, layer.current_face_color = _LOOKS[on_object]
        layer.feature_defaults = {"label": [label()]}
        layer.add(place)
        layer.selected_data = set()

    viewer.add_layer(layer)
    layer.mouse_drag_callbacks.append(click_callback(click, modifier))
    layer.mode = "pan_zoom"
    layer.cursor = "crosshair"
    return layer


def warn_of_ignored(supports: Sequence[SupportRef], clicks: Clicks) -> None:
    """Say which clicks change nothing, because every pixel of their slice was labelled."""
    labelled = {ref.plane for ref in supports if ref.whole and ref.origin == "labelled"}
    ignored = sorted(plane for plane in clicks if plane in labelled)
    if ignored:
        where = ", ".join("-".join(map(str, plane)) for plane in ignored[:5])
        warn(
            f"Clicks on {where} change nothing, every pixel is labelled there: correct the labels instead, "
            "or choose Unlabelled: are unknown."
        )


class ClicksWatch:
    """Tells when clicks were added, moved, removed, or given another sign or label.

    Parameters
    ----------
    on_change : called after each such change
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._layer: Points | None = None

    def follow(self, layer: Points | None) -> None:
        """Listen to this layer instead; None: to none."""
        if layer is self._layer:
            return
        for name in _EVENTS:
            if self._layer is not None:
                getattr(self._layer.events, name).disconnect(self._changed)
            if layer is not None:
                getattr(layer.events, name).connect(self._changed)
        self._layer = layer

    def _changed(self, event: Any) -> None:
        action = str(getattr(event, "action", "changed")).rsplit(".", 1)[-1].lower()
        if action in ("added", "removed", "changed"):  # not "adding": before it is there
            self._on_change()
