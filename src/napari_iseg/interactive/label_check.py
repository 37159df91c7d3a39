"""What labels on the disk hold, against what was recorded: files are lost or damaged while nobody looks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from zarr.codecs import BytesCodec, ZstdCodec

from napari_iseg.errors import DamageError
from napari_iseg.interactive.committing import traces
from napari_iseg.interactive.history import Parts
from napari_iseg.interactive.objects import Plane
from napari_iseg.labels.layout import CHUNK, keeping_files
from napari_iseg.labels.pyramid import level_parts
from napari_iseg.labels.regions import Mask, Region, Tile, part_of, tiles_of
from napari_iseg.labels.store import LabelStore, Trace
from napari_iseg.prompts import Window

_ZSTD = b"\x28\xb5\x2f\xfd"  # how a frame begins (RFC 8878)


class OwnLabels(LabelStore):
    """The labels in a session's folder, which the journal can make again where a file cannot be read."""

    @property
    def levels(self) -> list[Any]:
        """The pyramid as zarr arrays, level 0 first; what is erased in them stays erased (`is_whole`)."""
        return [keeping_files(level) for level in super().levels]

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            with super()._readable():
                yield
        except DamageError as error:
            if isinstance(error.__cause__, OSError):  # the disk's own: the file may be whole
                raise
            raise DamageError(
                f"The labels in {self.path} are damaged ({error.__cause__}); close the session, delete that "
                "folder and open the session again: its journal makes it anew."
            ) from error


def is_whole(store: LabelStore, objects: Mapping[int, Parts]) -> bool:
    """Whether the files for all recorded pixels of the objects are there and not cut off, in all levels.

    Labels that can be read are as their user wants them, whatever was recorded. So are those that were
    erased: a label store keeps the files of their chunks (`labels.layout.put`). A file that is missing was
    lost, or another program took it away that erased all of a chunk; only the record tells what it held. A
    store that is laid out in another way than ours is taken as it is.
    """
    arrays = store.levels
    if not all(map(_is_ours, arrays)):
        return True

    @cache
    def whole(level: int, plane: Plane, row: int, col: int) -> bool | None:
        """None: there is no file, as for a chunk that never had labels."""
        array = arrays[level]
        try:
            content = Path(
                f"{array.store.root}/{array.path}/{array.metadata.encode_chunk_key((*plane, row, col))}"
            ).read_bytes()
        except FileNotFoundError:
            return None
        return _is_frame(content)

    def tile_is_whole(plane: Plane, tile: Tile) -> bool:
        anywhere = np.broadcast_to(np.True_, tile.window.shape)  # takes no memory
        found = {at: whole(at[0], plane, *at[1:]) for at, _ in _chunks(tile.window, anywhere, len(arrays))}
        if False in found.values():
            return False
        if None not in found.values():
            return True
        # Seldom: then it matters which of them have pixels.
        recorded = [at for at, here in _chunks(tile.window, tile.mask(), len(arrays)) if here.any()]
        return None not in map(found.get, recorded)

    return all(
        tile_is_whole(p.plane, tile) for parts in objects.values() for p in parts for tile in p.region.tiles
    )


def _chunks(window: Window, mask: Mask, levels: int) -> Iterator[tuple[tuple[int, int, int], Mask]]:
    """((level, row, col) of a chunk, the mask in it) for all chunks that a window lies in."""
    for level, part, here in ((0, window, mask), *level_parts(window, mask, levels)):
        for inner in tiles_of(part, CHUNK):
            yield (level, inner.top // CHUNK, inner.left // CHUNK), here[part_of(inner, part)]


def _is_ours(array: Any) -> bool:
    """Whether an array is laid out as `labels/layout.py` does it."""
    *lead, rows, cols = array.shape
    return (
        array.chunks == (*(1 for _ in lead), min(rows, CHUNK), min(cols, CHUNK))
        and array.shards is None
        and not array.filters
        and isinstance(array.serializer, BytesCodec)
        and [type(codec) for codec in array.compressors] == [ZstdCodec]
    )


def _is_frame(content: bytes) -> bool:
    """Whether bytes are one frame of Zstandard from its first to its last byte, by the sizes stated in it."""
    if len(content) < 6 or not content.startswith(_ZSTD):
        return False
    described = content[4]
    single = described >> 5 & 1
    at = 5 + (1 - single) + (0, 1, 2, 4)[described & 3] + (single, 2, 4, 8)[described >> 6]
    last = 0
    while not last:
        if at + 3 > len(content):
            return False
        head = int.from_bytes(content[at : at + 3], "little")
        last, kind = head & 1, head >> 1 & 3
        at += 3 + (1 if kind == 1 else head >> 3)  # kind 1: a byte that is repeated
    return at + 4 * (described >> 2 & 1) == len(content)


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
