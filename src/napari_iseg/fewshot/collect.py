"""From labels and clicks to the supports of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
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

_MARKED = "Nothing is known to be background, so everything would be marked"
# what to do where nothing is known to be background
NO_BACKGROUND = (
    f"{_MARKED}; annotate one area completely and give its outline (the dock's Unlabelled: background in …, "
    "--complete, complete=Areas)."
)

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
        When nothing is annotated, there are background clicks only, all objects lie where the image has no
        values, or a single label is painted and no background is known.
    """
    painted: dict[Plane, list[Window]] = {}
    asked = sorted({*planes, *(clicks or {})}) if planes is not None else None
    for plane, window in occupied(labels, frame, asked) if labels is not None else ():
        places = (
            [grid.window(*tile) for tile in grid.tiles()]
            if on_grid
            else support_windows(labels, frame, grid, plane, window)
        )
        known = painted.setdefault(plane, [])
        known.extend(place for place in places if place not in known)
    right = set(accepted) if labels is not None else set()
    for plane in right:
        painted[plane] = [grid.window(*tile) for tile in grid.tiles()]
    given = clicks or {}
    refs = []
    for plane in sorted({*painted, *given}):
        add, position = partial(store.add, source, plane), frame.position(plane)
        origin, sure = ("accepted", True) if plane in right else ("labelled", complete)
        known = painted.get(plane, [])
        for window in known:
            mask = _mask(labels, frame, plane, window, sure)
            inside = _inside(given.get(plane, ()), window)
            whole = bool((mask >= 0).all())
            refs.append(add(window, position, mask, inside, accepted=whole, origin=origin))
        free = [pair for pair in given.get(plane, ()) if not any(_lies_in(window, pair) for window in known)]
        for window in _click_windows(grid, free):
            unknown = np.full(window.shape, UNKNOWN, np.int32)  # a click says nothing of what lies around it
            refs.append(add(window, position, unknown, _inside(free, window), origin="clicked"))
    _check(refs, complete, copied=on_grid)
    return refs


def _mask(labels: Any, frame: Frame, plane: Plane, window: Window, complete: bool | Areas) -> Labels:
    mask = read_plane(labels, frame, plane, window)
    if isinstance(complete, Areas):
        mask[(mask == 0) & ~complete.mask(window)] = UNKNOWN
    elif not complete:
        mask[mask == 0] = UNKNOWN  # nobody has said that the unlabelled pixels are background
    return mask


def _lies_in(window: Window, pair: tuple[int, Click]) -> bool:
    return window.contains(pair[1].row, pair[1].col)


def _inside(pairs: Sequence[tuple[int, Click]], window: Window) -> list[tuple[int, Click]]:
    return [pair for pair in pairs if _lies_in(window, pair)]


def _click_windows(grid: Grid, pairs: Sequence[tuple[int, Click]]) -> list[Window]:
    """Windows around clicks, none around one that lies in another's."""
    windows: list[Window] = []
    for pair in pairs:
        if not any(_lies_in(window, pair) for window in windows):
            windows.append(_click_window(grid, pair[1]))
    return windows


def _click_window(grid: Grid, click: Click) -> Window:
    """The window of a tile's size around a click."""
    rows, cols = grid.shape
    if not Window.of_shape(grid.shape).contains(click.row, click.col):
        raise InputError(f"The click at {click.row:g},{click.col:g} is outside the plane of {rows} x {cols}.")
    sides = min(grid.tile, rows), min(grid.tile, cols)
    top = min(max(0, round(click.row) - sides[0] // 2), rows - sides[0])
    left = min(max(0, round(click.col) - sides[1] // 2), cols - sides[1])
    return Window(top, left, top + sides[0], left + sides[1])


def _lacks_background(refs: Iterable[SupportRef]) -> bool:
    """Whether pixels are painted and none is known to be background; from clicks alone a model draws some."""
    learnt = [ref for ref in refs if ref.learnt]
    return any(ref.origin != "clicked" for ref in learnt) and not any(ref.background for ref in learnt)


def doubts(refs: Sequence[SupportRef], complete: bool | Areas, *, copied: bool) -> tuple[str, ...]:
    """What a user should hear of supports before a run that may start all the same, each a sentence.

    Parameters
    ----------
    complete, copied : as ``complete`` and ``on_grid`` of ``collect``
    """
    if _lacks_background(refs) and not copied:
        return (_no_background(refs, complete).replace("would", "may"),)
    idle = _idle(refs, complete)
    return (f"Not every polygon counts: {idle}.",) if idle else ()


def _no_background(refs: Sequence[SupportRef], complete: bool | Areas) -> str:
    """Why nothing is known to be background, and what to do."""
    idle = _idle(refs, complete)
    return f"{_MARKED}: {idle}." if idle else NO_BACKGROUND


def _idle(refs: Sequence[SupportRef], complete: bool | Areas) -> str:
    """Words on the polygons of ``complete`` that change nothing, as all is unknown around them; or none."""
    if not isinstance(complete, Areas):
        return ""
    idle = complete.beside({ref.window for ref in refs if ref.origin != "clicked"})
    if not idle:
        return ""
    (row, col), more = idle[0], f" (and {len(idle) - 1} more)" if len(idle) > 1 else ""
    return (
        f"no painted slice or tile reaches the polygon around row {row:.0f}, column {col:.0f}{more}; draw it "
        "around paint"
    )


def _check(refs: Sequence[SupportRef], complete: bool | Areas, *, copied: bool) -> None:
    """Refuse supports from which nothing follows; masks that are copied need no image and no background."""
    labels = {label for ref in refs for label in ref.labels}
    learnt = {label for ref in refs for label in ref.learnt if label}
    named = labels.union(*(ref.lost for ref in refs)) - {0}
    if not named and any(ref.clicks or ref.lost for ref in refs):
        raise InputError(
            "There are only background clicks; click on an object of at least one slice or tile as well."
        )
    if not named:
        raise InputError(
            "No slice or tile holds a label; annotate at least one and give its labels (0 is background)."
        )
    if not (labels if copied else learnt):
        raise InputError(
            "All labels and object clicks lie where the image has no values, so nothing can be learnt from "
            "them; annotate a place where it has some."
        )
    if copied or len(learnt) > 1 or any(ref.is_outlined for ref in refs):
        return
    if _lacks_background(refs):  # measured: every model then marks the whole scene
        raise InputError(_no_background(refs, complete))
