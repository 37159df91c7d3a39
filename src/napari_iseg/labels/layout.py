"""A label pyramid as a zarr group: making one, opening one, syncing its files."""

from __future__ import annotations

import operator
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import zarr
import zarr.errors
import zarr.storage
from numpy.typing import NDArray

from napari_iseg.errors import InputError, SaveError
from napari_iseg.files import real_place, temporary_beside
from napari_iseg.labels.emptied import empty_file, is_empty
from napari_iseg.labels.metadata import Space, ome_attributes, ome_axes, placed, space_of
from napari_iseg.labels.pyramid import level_shapes
from napari_iseg.labels.regions import TILE, part_of, tiles_of
from napari_iseg.prompts import Window

CHUNK = 512
NOTES = "napari-iseg"  # our own group attribute
_T = TypeVar("_T")


def create(
    path: Path | None, shape: tuple[int, ...], chunks: int | Sequence[int] | None, space: Space, name: str
) -> tuple[Any, list[Any]]:
    """A group with empty arrays for every level. On disk it is made under a temporary name and renamed.

    Where ``path`` is a link to nothing, it is made there.
    """
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    whole = _chunks(chunks, len(shape))
    sizes = level_shapes(shape[-2], shape[-1])
    if path is None:
        group = _filled(zarr.storage.MemoryStore(), shape, whole, space, name)
    else:
        temporary = temporary_beside(path)
        try:
            _filled(temporary, shape, whole, space, name)
            temporary.rename(real_place(path))
        except BaseException:  # also Ctrl-C: nothing half made stays behind
            clear_away(temporary)
            raise
        group = zarr.open_group(path, mode="r+")
    return group, [group[str(level)] for level in range(len(sizes))]


def _chunks(chunks: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """The size of a chunk along every axis; InputError where ``chunks`` gives none."""
    given: Any = CHUNK if chunks is None else chunks
    try:
        sides = given if np.iterable(given) else (1,) * (ndim - 2) + (given, given)
        whole = tuple(map(operator.index, sides))
    except TypeError:
        whole = ()
    if len(whole) != ndim or min(whole) < 1:
        raise InputError(
            f"chunks must be one whole number or {ndim} of them, all larger than 0; got {chunks!r}."
        )
    return whole


def clear_away(folder: Path) -> None:
    """Remove a half-made group; zarr's writes that were under way when another one failed may still come."""
    for pause in (0.0, 0.05, 0.2):
        time.sleep(pause)
        shutil.rmtree(folder, ignore_errors=True)


def _filled(place: Any, shape: tuple[int, ...], chunks: tuple[int, ...], space: Space, name: str) -> Any:
    """A new group at ``place`` with an empty array for every level."""
    group = zarr.open_group(place, mode="w", zarr_format=3)
    names = []
    for level, size in enumerate(level_shapes(shape[-2], shape[-1])):
        names.append(str(level))
        level_shape = (*shape[:-2], *size)
        group.create_array(
            names[-1],
            shape=level_shape,
            dtype="uint32",
            chunks=tuple(min(c, n) for c, n in zip(chunks, level_shape, strict=True)),
            fill_value=0,
            dimension_names=[axis["name"] for axis in ome_axes(space)],
        )
    group.attrs.update(ome_attributes(space, names, name))
    return group


def restate(group: Any, space: Space) -> None:
    """State another space in an existing group, with the same names of axes and levels; all else stays."""
    ome = group.attrs["ome"]
    known, *others = ome["multiscales"]
    group.attrs["ome"] = {**ome, "multiscales": [placed(known, space), *others]}


def saving(path: Path | None, work: Callable[[], _T]) -> _T:
    """Run ``work`` and turn a failing disk into a SaveError."""
    try:
        return work()
    except OSError as error:
        raise SaveError(
            f"The labels in {path} could not be written ({error.strerror or error}); free some space."
        ) from error


def sync(file: Path) -> None:
    """Make sure a file's content survives a power cut; a chunk that was never written has no file."""
    if file.is_file():
        handle = os.open(file, os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@dataclass(frozen=True, slots=True)
class Notes:
    """What a label store knows beside its pixels: the next label, and the ids of sessions that write here."""

    next_label: int
    sessions: tuple[str, ...]

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> Notes:
        """Those in a group's attributes."""
        known = attributes.get(NOTES, {})
        return cls(int(known.get("next_label", 1)), tuple(map(str, known.get("sessions", ()))))

    def to_record(self) -> dict[str, Any]:
        """As JSON values."""
        return {"next_label": self.next_label, "sessions": list(self.sessions)}


def merge_notes(path: Path, group: Any, notes: Notes) -> Notes:
    """Write notes into a group, with those that another program has written since it was opened."""
    try:
        written = Notes.of(dict(zarr.open_group(path, mode="r").attrs))
    except (LookupError, TypeError, ValueError, AttributeError, zarr.errors.BaseZarrError):
        written = notes  # damaged: made whole now
    merged = Notes(
        max(notes.next_label, written.next_label), tuple(dict.fromkeys(written.sessions + notes.sessions))
    )
    group.attrs[NOTES] = merged.to_record()
    return merged


def open_pyramid(path: Path) -> tuple[Any, list[Any], Space, Notes]:
    """Group, levels, space and notes of an existing label store; InputError when it is not one."""
    try:
        group: Any = zarr.open_group(path, mode="r+")
        attributes: dict[str, Any] = dict(group.attrs)
        space = space_of(attributes)
        names = [data["path"] for data in attributes["ome"]["multiscales"][0]["datasets"]]
        levels = [group[name] for name in names]
        shapes = [tuple(level.shape[-2:]) for level in levels]
        fits = levels[0].dtype == np.uint32 and shapes == level_shapes(*shapes[0])
        notes = Notes.of(attributes)
    except (OSError, LookupError, TypeError, ValueError, AttributeError, zarr.errors.BaseZarrError) as error:
        raise InputError(f"{path} is not an OME-Zarr 0.5 group of labels ({error}).") from error
    if not fits:
        raise InputError(f"{path} is not a label store: its arrays must be uint32 and halve per level.")
    return group, levels, space, notes


def written_boxes(array: Any) -> list[tuple[slice, ...]] | None:
    """Where a zarr array on disk may hold anything but 0: its chunks, or shards, that have a file.

    Chunks whose labels all went are left out, too, where this program wrote their files. None where files do
    not tell, and all has to be read: of an array elsewhere, with other keys than zarr's own, or whose missing
    chunks are not 0.
    """
    if not isinstance(array, zarr.Array) or not isinstance(array.store, zarr.storage.LocalStore):
        return None
    keys: Any = getattr(array.metadata, "chunk_key_encoding", None)  # zarr 2 has none
    if getattr(keys, "name", "") != "default" or keys.separator != "/" or array.fill_value:
        return None
    base = array.store.root / array.path / "c"
    sides = array.shards or array.chunks
    boxes, empty = [], empty_file(array)
    for file in sorted(base.rglob("*")):
        parts = file.relative_to(base).parts
        if len(parts) != len(sides) or not all(part.isdecimal() for part in parts):
            continue
        if not is_empty(file, empty):
            starts = [int(part) * side for part, side in zip(parts, sides, strict=True)]
            ends = [min(s + c, n) for s, c, n in zip(starts, sides, array.shape, strict=True)]
            boxes.append(tuple(slice(a, b) for a, b in zip(starts, ends, strict=True)))
    return boxes


def written_chunks(array: Any) -> Iterator[tuple[slice, ...]]:
    """The chunks of a zarr array that may hold labels, shards chunk by chunk: none is decoded twice."""
    boxes = written_boxes(array)
    for box in boxes if boxes is not None else [tuple(slice(0, size) for size in array.shape)]:
        yield from product(
            *(
                [slice(start, min(start + side, span.stop)) for start in range(span.start, span.stop, side)]
                for span, side in zip(box, array.chunks, strict=True)
            )
        )


def labels_in(
    values: NDArray[np.uint32], chunk: tuple[slice, ...]
) -> Iterator[tuple[int, tuple[int, ...], Window]]:
    """What objects the ``values`` of a chunk hold: label, plane and the chunk's window."""
    *lead, rows, cols = chunk
    window = Window(rows.start, cols.start, rows.stop, cols.stop)
    for index in np.ndindex(values.shape[:-2]) if values.any() else ():
        plane = tuple(span.start + i for span, i in zip(lead, index, strict=True))
        for label in np.unique(values[index]):
            if label:
                yield int(label), plane, window


def without_pixels(
    read: Callable[[Window], NDArray[np.uint32]], written: Iterable[tuple[int, Window]]
) -> set[tuple[int, Window]]:
    """Objects and windows, as they were written in one plane, where no pixel of the object is left.

    However many they are, no tile is read twice.
    """
    tiles: dict[tuple[int, int], list[tuple[int, Window, Window]]] = {}
    for label, window in written:
        for part in tiles_of(window):
            tiles.setdefault((part.top // TILE, part.left // TILE), []).append((label, window, part))
    empty = {(label, window) for parts in tiles.values() for label, window, _ in parts}
    for parts in tiles.values():
        around = reduce(Window.union, (part for _, _, part in parts))
        values = read(around)
        for label, window, part in parts:
            if (label, window) in empty and (values[part_of(part, around)] == label).any():
                empty.remove((label, window))
    return empty


def keeping_files(array: Any) -> Any:
    """The same zarr array, of which a chunk keeps its file when its labels are erased."""
    return zarr.Array(zarr.AsyncArray(array.metadata, array.store_path, {"write_empty_chunks": True}))


def put(array: Any, plane: tuple[int, ...], window: Window, values: Any) -> None:
    """Write the values (rows, cols) of a window.

    A chunk on the disk whose labels all go keeps its file, by which what was erased is told from what was
    lost; one that never had labels gets none.
    """
    emptied = [
        part
        for file, part in _parts(array, plane, window)
        if not values[part_of(part, window)].any() and file.is_file()
    ]
    if not emptied:
        array[(*plane, *window.slices)] = values
        return
    keeping = keeping_files(array)
    for _, part in _parts(array, plane, window):
        here = values[part_of(part, window)]
        if part in emptied or here.any():
            keeping[(*plane, *part.slices)] = here


def sync_chunks(array: Any, plane: tuple[int, ...], window: Window) -> None:
    """Make sure that the chunks of a window, or the shards they are in, survive a power cut."""
    for file, _ in _parts(array, plane, window):
        sync(file)


def _parts(array: Any, plane: tuple[int, ...], window: Window) -> Iterator[tuple[Path, Window]]:
    """The files of the chunks, or shards, that a window lies in, and its part in each; none in memory."""
    if not isinstance(array.store, zarr.storage.LocalStore):
        return
    *lead, rows, cols = array.shards or array.chunks
    first = [index // size for index, size in zip(plane, lead, strict=True)]
    folder = array.store.root / array.path
    for row in range(window.top // rows, -(-window.bottom // rows)):
        for col in range(window.left // cols, -(-window.right // cols)):
            chunk = Window(row * rows, col * cols, (row + 1) * rows, (col + 1) * cols)
            yield folder / array.metadata.encode_chunk_key((*first, row, col)), chunk.intersect(window)
