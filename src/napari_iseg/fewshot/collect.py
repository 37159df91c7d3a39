"""From labels and clicks to the supports of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from napari_iseg.errors import InputError
from napari_iseg.fewshot.annotated import occupied, read_plane, support_windows
from napari_iseg.fewshot.areas import Areas
from napari_iseg.fewshot.base import UNKNOWN, Labels
from napari_iseg.fewshot.frame import Frame, Grid, Plane
from napari_iseg.fewshot.support_store import SupportRef, SupportStore
from napari_iseg.images import PlaneSource
from napari_iseg.prompts import Click, Window

Clicks = Mapping[Plane, Sequence[tuple[int, Click]]]


def collect(
    source: PlaneSource,
    labels: Any | None,
    frame: Frame,
    grid: Grid,
    store: SupportStore,
    *,
    planes: Sequence[Plane] | None = None,
    clicks: Clicks | None = None,
    accepted: Iterable[Plane] = (),
    complete: bool | Areas = True,
    on_grid: bool = False,
) -> list[SupportRef]:
    """Keep every annotated plane or tile in ``store``.

    Parameters
    ----------
    source, labels : the image and an array of ``frame.shape`` (or None with clicks only)
    planes : where to look for labels; None: everywhere
    clicks : per plane (label, click) in pixels of the plane
    accepted : planes that the user called right, also those without any label
    complete : whether an unlabelled pixel of an annotated plane or tile is background; else it is unknown.
        Polygons: it is background inside them
    on_grid : take the grid's own windows on annotated planes (for methods that copy masks)

    Raises
    ------
    InputError
        When nothing is annotated, or there are background clicks only.
    """
    found: dict[Plane, list[Window]] = {}
    painted: set[Plane] = set()
    asked = sorted({*planes, *(clicks or {})}) if planes is not None else None
    for plane, window in occupied(labels, frame, asked) if labels is not None else ():
        places = (
            [grid.window(*tile) for tile in grid.tiles()]
            if on_grid
            else support_windows(labels, frame, grid, plane, window)
        )
        painted.add(plane)
        known = found.setdefault(plane, [])
        known.extend(place for place in places if place not in known)
    right = set(accepted) if labels is not None else set()
    for plane in right:
        painted.add(plane)
        found[plane] = [grid.window(*tile) for tile in grid.tiles()]
    for plane, given in (clicks or {}).items():
        known = found.setdefault(plane, [])
        for _, click in given:
            if not any(window.contains(click.row, click.col) for window in known):
                known.append(_click_window(grid, click))
    refs = []
    for plane in sorted(found):
        own = (clicks or {}).get(plane, ())
        for window in found[plane]:
            inside = [(label, click) for label, click in own if window.contains(click.row, click.col)]
            sure: bool | Areas = plane in right or (plane in painted and complete)
            mask = _mask(labels, frame, plane, window, sure)
            origin = "accepted" if plane in right else "labelled" if plane in painted else "clicked"
            refs.append(
                store.add(
                    source,
                    plane,
                    window,
                    frame.position(plane),
                    mask,
                    inside,
                    accepted=bool((mask >= 0).all()),
                    origin=origin,
                )
            )
    _check(refs, clicks)
    return refs


def _mask(labels: Any | None, frame: Frame, plane: Plane, window: Window, complete: bool | Areas) -> Labels:
    if labels is None:
        return np.full(window.shape, UNKNOWN, np.int32)
    mask = read_plane(labels, frame, plane, window)
    if isinstance(complete, Areas):
        mask[(mask == 0) & ~complete.mask(window)] = UNKNOWN
    elif not complete:
        mask[mask == 0] = UNKNOWN  # nobody has said that the unlabelled pixels are background
    return mask


def _click_window(grid: Grid, click: Click) -> Window:
    """The window of a tile's size around a click."""
    rows, cols = grid.shape
    if not Window.of_shape(grid.shape).contains(click.row, click.col):
        raise InputError(f"The click at {click.row:g},{click.col:g} is outside the plane of {rows} x {cols}.")
    sides = min(grid.tile, rows), min(grid.tile, cols)
    top = min(max(0, round(click.row) - sides[0] // 2), rows - sides[0])
    left = min(max(0, round(click.col) - sides[1] // 2), cols - sides[1])
    return Window(top, left, top + sides[0], left + sides[1])


def _check(refs: Sequence[SupportRef], clicks: Clicks | None) -> None:
    if any(ref.labels for ref in refs):
        return
    if clicks and any(clicks.values()):
        raise InputError(
            "There are only background clicks; click on an object of at least one slice or tile as well."
        )
    raise InputError(
        "No slice or tile holds a label; annotate at least one and give its labels (0 is background)."
    )
