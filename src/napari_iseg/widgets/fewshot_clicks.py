"""Clicks of a few-shot run: the layer that they are made in, and word of every change of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_iseg.errors import InputError
from napari_iseg.fewshot.collect import Clicks
from napari_iseg.fewshot.frame import Plane
from napari_iseg.fewshot.plan import Plan
from napari_iseg.fewshot.support_store import SupportRef
from napari_iseg.widgets.hands import refuse_paste
from napari_iseg.widgets.mouse import click_callback
from napari_iseg.widgets.placement import PLACING, Placement, PlaneAxes, put
from napari_iseg.widgets.reports import report, warn
from napari_iseg.widgets.scene import grid_of, image_shape, to_data

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Layer, Points

BACKGROUND = ("x", "cross", "hbar")  # symbols of clicks on background
CLICKS = "napari-iseg few-shot clicks"  # in the metadata of a layer made here: the id of its image
_RESULT = "napari-iseg few-shot clicks of"  # beside it: the path of the result that they were made for
_LOOKS = {True: ("disc", "lime"), False: ("hbar", "red")}  # as in the click dock
_EVENTS = ("data", "symbol", "features")


def new_clicks(
    viewer: napari.Viewer,
    image: Image,
    label: Callable[[], int],
    modifier: Callable[[], str],
    clicks: Clicks,
    axes: PlaneAxes,
) -> Points:
    """A layer for clicks on an image, ready to be clicked in as in the click dock.

    Parameters
    ----------
    label : asked at every click for the label that it belongs to
    modifier : asked likewise for the key ("Control", "Shift") that, like the right button, makes a background
        click
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
        metadata={CLICKS: image.unique_id},
        size=4,  # pixels of the image
        **Placement.of(image).whole(),
    )
    layer.feature_defaults = {"label": [label()]}

    def click(position: Sequence[float], on_object: bool) -> None:
        place, pixel = to_data(viewer, layer, position), np.round(to_data(viewer, image, position))
        if viewer.dims.ndisplay == 3:
            warn("Clicks are made on slices: switch the viewer back to 2D (the cube button, or Ctrl+Y).")
            return
        if grid_of(viewer).enabled:
            warn("Clicks are made on one picture: switch the grid off (the four squares, or Ctrl+G).")
            return
        if (pixel < 0).any() or (pixel >= image_shape(image)).any():
            return
        layer.selected_data = set()  # else napari gives the looks of this click to the one before too
        layer.current_symbol, layer.current_face_color = _LOOKS[on_object]
        layer.feature_defaults = {"label": [label()]}
        layer.add(place)
        layer.selected_data = set()

    viewer.add_layer(layer)
    layer.mouse_drag_callbacks.append(click_callback(click, modifier))
    refuse_paste(layer, warn)
    layer.mode = "pan_zoom"
    layer.cursor = "crosshair"
    return layer


def warn_of_ignored(plan: Plan, doubts: Sequence[str]) -> None:
    """Say which clicks and labels of a run change nothing, and what else is to be said of them."""
    refs = plan.annotated
    labelled = [ref for ref in refs if ref.clicks and ref.complete and ref.origin == "labelled"]
    if labelled:
        warn(
            f"Clicks on {_places(labelled)} change nothing, every pixel is labelled there: correct the "
            "labels instead, or choose Unlabelled: background in a Shapes layer."
        )
    lost = [ref for ref in refs if ref.lost]
    if lost:
        warn(f"Clicks on {_places(lost)} lie where the image has no values and change nothing.")
    missing = [ref for ref in refs if ref.missing]
    if missing and not plan.rules.on_grid:  # else masks are copied, whatever the image shows
        warn(f"Labels on {_places(missing)} lie where the image has no values: nothing is learnt from them.")
    for sentence in doubts:
        warn(sentence)


def _places(refs: Sequence[SupportRef]) -> str:
    """The first of the places, in words."""
    return ", ".join("the scene" if ref.key == "scene" else ref.place for ref in refs[:5])


def are_of(layer: Layer | None, image: Image | None) -> bool:
    """Whether a layer of clicks was made for an image."""
    return layer is not None and image is not None and layer.metadata.get(CLICKS) == image.unique_id


def belong(layer: Layer | None, path: Path) -> None:
    """Clicks of a layer made here are of the result at ``path``; each result has a layer of its own."""
    if layer is not None and CLICKS in layer.metadata:
        layer.metadata[_RESULT] = str(path)


def result_of(layer: Layer | None) -> str | None:
    """The path of the result that clicks made here are of; None for others, and before there is one."""
    return None if layer is None else layer.metadata.get(_RESULT)


class ClicksFollow:
    """Keeps the layers of clicks that were made for an image where the image lies."""

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self._image: Image | None = None

    def follow(self, image: Image | None) -> None:
        """Keep to this image; None: to none."""
        for name in PLACING:
            if self._image is not None:
                getattr(self._image.events, name).disconnect(self._moved)
            if image is not None:
                getattr(image.events, name).connect(self._moved)
        self._image = image

    def _moved(self, _event: Any) -> None:
        if self._image is not None:
            for layer in self._viewer.layers:
                if are_of(layer, self._image):
                    put(layer, Placement.of(self._image).whole())


class ClicksWatch:
    """Tells when clicks were added, moved, removed, or given another sign or label.

    Parameters
    ----------
    read : the clicks as they are; may raise InputError
    on_change : called after such a change with the planes that have other clicks than before
    """

    def __init__(self, read: Callable[[], Clicks], on_change: Callable[[set[Plane]], None]) -> None:
        self._read, self._on_change = read, on_change
        self._layer: Points | None = None
        self._known: dict[Plane, tuple[Any, ...]] = {}

    def follow(self, layer: Points | None) -> None:
        """Listen to this layer instead; None: to none. What it holds now is no change, on whatever planes."""
        if layer is not self._layer:
            for name in _EVENTS:
                if self._layer is not None:
                    getattr(self._layer.events, name).disconnect(self._changed)
                if layer is not None:
                    getattr(layer.events, name).connect(self._changed)
        self._layer, self._known = layer, {}
        with suppress(InputError):  # said when it matters
            self._known = self._now()

    def _now(self) -> dict[Plane, tuple[Any, ...]]:
        return {plane: tuple(pairs) for plane, pairs in self._read().items()}

    def _changed(self, event: Any) -> None:
        action = str(getattr(event, "action", "changed")).rsplit(".", 1)[-1].lower()
        if action not in ("added", "removed", "changed"):  # "adding": before it is there
            return
        try:
            before, self._known = self._known, self._now()
        except InputError as error:
            report(error)
            return
        other = {p for p in {*before, *self._known} if before.get(p) != self._known.get(p)}
        if other:  # napari tells of one click more than once
            self._on_change(other)
