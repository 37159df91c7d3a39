"""What labels on the disk hold, against what was recorded: files are lost or damaged while nobody looks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numcodecs import Zstd  # type: ignore[import-untyped]
from zarr.codecs import BytesCodec, ZstdCodec

from napari_iseg.interactive.committing import traces
from napari_iseg.interactive.history import Parts
from napari_iseg.interactive.objects import Plane
from napari_iseg.labels.layout import CHUNK
from napari_iseg.labels.pyramid import level_parts
from napari_iseg.labels.regions import Region, part_of, tiles_of
from napari_iseg.labels.store import Labels, LabelStore, Trace
from napari_iseg.prompts import Window

_KEPT = 32  # chunks read last, of 1 MiB each: what lies side by side is asked for one after the other


def holds_all(store: LabelStore, objects: Mapping[int, Parts]) -> bool:
    """Whether every recorded pixel of the objects has their label, in all levels of a store of our own.

    Chunks without an object are not looked at, the others are read about once. What reading a chunk that is
    damaged raises is raised.
    """
    found = [
        (part.plane, tile, label)
        for label, parts in objects.items()
        for part in parts
        for tile in part.region.tiles
    ]
    found.sort(key=lambda entry: (entry[0], entry[1].window.top // CHUNK, entry[1].window.left // CHUNK))

    @lru_cache(_KEPT)
    def chunk(level: int, plane: Plane, row: int, col: int) -> Labels:
        return _chunk(store.levels[level], plane, row, col)

    for plane, tile, label in found:
        mask = tile.mask()
        for level, part, here in ((0, tile.window, mask), *level_parts(tile.window, mask, len(store.levels))):
            for inner in tiles_of(part, CHUNK):
                wanted = here[part_of(inner, part)]
                if not wanted.any():
                    continue  # maybe there is no such chunk
                row, col = inner.top // CHUNK, inner.left // CHUNK
                values = chunk(level, plane, row, col)
                if (values[part_of(inner, Window(row * CHUNK, col * CHUNK, 0, 0))][wanted] != label).any():
                    return False
    return True


def _chunk(array: Any, plane: Plane, row: int, col: int) -> Labels:
    """The values of a chunk, without zarr's own way where it can be, which takes ten times as long."""
    ours = isinstance(array.serializer, BytesCodec) and [type(c) for c in array.compressors] == [ZstdCodec]
    if not ours or array.shards or array.filters:
        whole: Labels = array[(*plane, *(slice(at * CHUNK, at * CHUNK + CHUNK) for at in (row, col)))]
        return whole
    file = array.store.root / array.path / array.metadata.encode_chunk_key((*plane, row, col))
    values = np.zeros(array.chunks[-2:], "<u4")
    Zstd().decode(file.read_bytes(), values)
    return values


def tell_traces(store: LabelStore, objects: Mapping[int, Parts]) -> None:
    """Tell a store that others write in too where the objects lie.

    These are the recorded parts, and places where a search finds pixels of the objects beyond them.
    """
    places: dict[tuple[Plane, Window], list[int]] = {}
    for label in objects:
        for trace in store.traces_of(label):
            places.setdefault((trace.plane, trace.window), []).append(label)
    beyond: dict[int, list[Trace]] = {}
    for (plane, window), labels in places.items():
        values = store.read(plane, window)
        for label in labels:
            rest = Region.pack([(window, values == label)])
            for part in objects[label]:
                rest = rest.without(part.region) if part.plane == plane else rest
            if rest.tiles:
                beyond.setdefault(label, []).append(Trace(plane, window))
    for label, parts in objects.items():
        store.remember(label, (*traces(parts), *beyond.get(label, ())))
