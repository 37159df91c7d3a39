"""Committing: which pixels an object gets, decided before anything is recorded or written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_iseg.errors import InputError
from napari_iseg.interactive.objects import Paint, Part, Plane
from napari_iseg.interactive.patch import Patch
from napari_iseg.labels.regions import Region, Tile, part_of, tight
from napari_iseg.labels.store import LabelStore, Trace
from napari_iseg.prompts import Window

Masks = Iterator[tuple[Window, NDArray[np.bool_]]]


@dataclass(frozen=True, slots=True)
class Claim:
    """Pixels an object gets, pixels that others lose for it, and how many pixels others hold and keep."""

    region: Region
    taken: tuple[tuple[int, Region], ...]
    kept: int


def claim(store: LabelStore, plane: Plane, patch: Patch, label: int, *, overwrite: bool) -> Claim:
    """What committing a patch under a label would give and take, tile by tile.

    Raises
    ------
    InputError
        When nothing is above the threshold, or all pixels belong to committed objects already.
    """
    tiles: list[Tile] = []
    taken: dict[int, list[Tile]] = {}
    kept = 0
    owners: set[int] = set()
    for window, mask in patch.tiles():
        inner = tight(window, mask)
        if inner is None:
            continue
        wanted = mask[part_of(inner, window)]
        values = store.read(plane, inner)
        held = wanted & (values != 0) & (values != label)
        here = [int(value) for value in np.unique(values[wanted]) if value]
        owners.update(here)
        if overwrite:
            for other in here:
                if other != label:
                    taken.setdefault(other, []).extend(Region.pack([(inner, held & (values == other))]).tiles)
        else:
            kept += int(np.count_nonzero(held))
        given = wanted & ((values == 0) | (held if overwrite else False))
        tiles.extend(Region.pack([(inner, given)]).tiles)
    if not tiles:
        _refuse(owners)
    return Claim(
        Region(tuple(tiles)), tuple((other, Region(tuple(part))) for other, part in taken.items()), kept
    )


def _refuse(owners: set[int]) -> None:
    if not owners:
        raise InputError(
            "There is nothing to commit: the answer to the prompts is nowhere above the threshold; give "
            "another click, or lower the threshold."
        )
    names = ", ".join(str(label) for label in sorted(owners)[:10])
    raise InputError(
        f"All pixels of this object belong to committed objects already ({names}); delete or "
        "reopen those, or commit with overwrite=True."
    )


def traces(parts: tuple[Part, ...]) -> list[Trace]:
    """Where the parts of an object lie, for the label store; those that lost all pixels lie nowhere."""
    placed = [(part, part.region.window) for part in parts]
    return [Trace(part.plane, window, part.draft.prompts) for part, window in placed if window is not None]


def beyond(paint: Paint, parts: tuple[Part, ...], known: tuple[Trace, ...]) -> Trace | None:
    """Where pixels of a paint lie that are in no part of the object, nor where it is known to lie."""
    region = paint.region
    for part in parts:
        region = region.without(part.region) if part.plane == paint.plane else region
    here = [trace.window for trace in known if trace.plane == paint.plane]
    window = Region.pack((tile, _outside(tile, mask, here)) for tile, mask in region.masks()).window
    return None if window is None else Trace(paint.plane, window)


def _outside(window: Window, mask: NDArray[np.bool_], known: list[Window]) -> NDArray[np.bool_]:
    """``mask`` of ``window`` without the pixels in known windows."""
    left = mask.copy()
    for other in known:
        common = window.intersect(other)
        if common.height and common.width:
            left[part_of(common, window)] = False
    return left


def apply_paints(store: LabelStore, paints: tuple[Paint, ...], *, clear: bool) -> None:
    """Free the pixels of paints that still have their label, or give them those that are free.

    Others may write in these labels too: what they have put there meanwhile stays theirs.
    """
    for paint in paints:
        before, after = (paint.label, 0) if clear else (0, paint.label)
        store.paint(paint.plane, paint.region, after, over=before)
