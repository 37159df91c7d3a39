"""LabelStore: the committed objects of an image of any size, in memory or as OME-Zarr 0.5 on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_iseg.errors import InputError
from napari_iseg.files import check_place
from napari_iseg.images.damage import reading
from napari_iseg.labels.checks import check_box, checked_label, checked_mask, checked_place, checked_shape
from napari_iseg.labels.layout import (
    Notes,
    create,
    labels_in,
    merge_notes,
    open_pyramid,
    put,
    restate,
    saving,
    sync,
    sync_chunks,
    without_pixels,
    written_chunks,
)
from napari_iseg.labels.metadata import Space
from napari_iseg.labels.pyramid import level_parts
from napari_iseg.labels.regions import TILE, Mask, Region, part_of, tiles_of
from napari_iseg.prompts import Edges, Prompts, Window

Plane = tuple[int, ...]
Labels = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Trace:
    """Where an object was written, and the prompts it came from: enough to erase it without a search."""

    plane: Plane
    window: Window
    prompts: Prompts = field(default_factory=Prompts)


class LabelStore:
    """uint32 labels of an nD image, read and written by windows of a plane; 0 is background.

    Nothing here ever holds more than a tile of 1024 x 1024 pixels, whatever the size of array and object.

    ``image_axes`` says which axis of the image each axis is, for labels of planes other than the image's last
    two axes: what leaves for other programs has the image's order. A session sets it.

    Parameters
    ----------
    shape
        (plane axes..., rows, cols).
    path
        Folder of a new OME-Zarr 0.5 group. Without it the store lives in memory (compressed, only where there
        are objects).
    chunks
        Side of a chunk in the plane, or the whole chunk shape; 512 by default.
    scale
        Units per pixel, one entry per axis.
    translate
        Position of the first pixel's centre, one entry per axis.
    axes
        Names, one per axis ("z", "y", "x"). Names that OME-Zarr does not allow, as two alike, are the usual
        ones on the disk.
    units
        Units of ``scale``, one entry per axis ("micrometer").
    name
        Of the label image, for the metadata.

    Raises
    ------
    InputError
        For a shape without rows and columns, metadata of another length, or a path that exists (use
        ``LabelStore.open``).
    SaveError
        When the folder cannot be written.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        path: str | Path | None = None,
        chunks: int | Sequence[int] | None = None,
        scale: Sequence[float] | None = None,
        translate: Sequence[float] | None = None,
        axes: Sequence[str] | None = None,
        units: Sequence[object] | None = None,
        name: str = "labels",
    ) -> None:
        sizes = checked_shape(shape)
        space = Space.make(len(sizes), axes, scale, translate, units)
        where = Path(path) if path is not None else None
        if where is not None and where.exists():
            raise InputError(f"{where} exists already; open it with LabelStore.open or choose another name.")
        if where is not None and len(sizes) > 5:
            raise InputError(
                f"OME-Zarr holds at most 5 axes, these labels have {len(sizes)}; keep them in memory."
            )
        if where is not None:
            check_place(where)
        self._setup(where, space, saving(where, lambda: create(where, sizes, chunks, space, name)))

    @classmethod
    def open(cls, path: str | Path) -> LabelStore:
        """The store in an existing OME-Zarr group of labels; raises InputError when it is not one."""
        where = Path(path)
        group, levels, space, notes = open_pyramid(where)
        store = cls.__new__(cls)
        store._setup(where, space, (group, levels))
        store._next = notes.next_label
        store.sessions = notes.sessions
        store._searched = False
        return store

    def _setup(self, path: Path | None, space: Space, made: tuple[Any, list[Any]]) -> None:
        self.path = path
        self.space = space
        self._group, self._levels = made
        self.image_axes: tuple[int, ...] = tuple(range(len(self.shape)))
        self._traces: dict[int, tuple[Trace, ...]] = {}
        self._next = 1
        self.sessions: tuple[str, ...] = ()  # whose records may change these labels when they are opened
        self._searched = True  # False: opened from disk, and nobody has told where its objects are
        self._unsynced: set[tuple[int, Plane, Window]] = set()

    @property
    def shape(self) -> tuple[int, ...]:
        """(plane axes..., rows, cols)."""
        return tuple(int(size) for size in self._levels[0].shape)

    @property
    def levels(self) -> list[Any]:
        """The pyramid as zarr arrays, level 0 first: what a viewer shows as a multiscale layer."""
        return list(self._levels)

    @property
    def labels(self) -> tuple[int, ...]:
        """The numbers of all objects, ascending."""
        self._search()
        return tuple(sorted(self._traces))

    def next_label(self) -> int:
        """The smallest number above every number ever used in this store; it never goes back."""
        self._search()
        return self._next

    def traces_of(self, label: int) -> tuple[Trace, ...]:
        """Where an object lies; empty for an unknown one."""
        self._search()
        return self._traces.get(label, ())

    def holds(self, label: int, trace: Trace) -> bool:
        """Whether an object still has pixels where it was written."""
        return any((self.read(trace.plane, tile) == label).any() for tile in tiles_of(trace.window))

    def prompts_of(self, label: int) -> tuple[Prompts, ...]:
        """The prompts of an object, one entry per plane it was committed in; InputError for no label."""
        return tuple(trace.prompts for trace in self.traces_of(checked_label(label)))

    def read(self, plane: Plane = (), window: Window | Edges | None = None) -> Labels:
        """(rows, cols) uint32 of a window of a plane, level-0 pixels; the whole plane without a window.

        Raises
        ------
        InputError
            For a plane or window that the labels do not have.
        DamageError
            When a file of it cannot be read.
        """
        plane, window = checked_place(plane, window, self.shape)
        return self.block((*plane, *window.slices))

    def block(self, box: tuple[int | slice, ...]) -> Labels:
        """uint32 of any box of the level-0 array, an index or a slice per axis.

        Raises
        ------
        InputError
            For a box that the labels do not have.
        DamageError
            When a file of it cannot be read.
        """
        check_box(box, self.shape)
        with self._readable():
            values: Labels = np.asarray(self._levels[0][box], dtype=np.uint32)
            return values

    def write(
        self,
        label: int,
        plane: Plane,
        window: Window | Edges,
        mask: Mask,
        *,
        overwrite: bool = False,
        prompts: Prompts | None = None,
    ) -> int:
        """Give the pixels of ``mask`` (rows, cols of ``window``, bool) to an object.

        Whole numbers will do as a mask, 0 outside; and (top, left, bottom, right) as a window.

        Pixels that another object holds stay with it, as whoever committed first expects; with ``overwrite``
        they go to this one. Returns how many pixels another object held, i.e. were not given, or with
        ``overwrite`` were taken. Who gets none is no object, and neither is who keeps none, unless it was
        written in a window beyond the tiles of this one (1024 x 1024 pixels); its number is not used again.

        Raises
        ------
        InputError
            For a label outside 1 to 2^32 - 1, a plane, window or mask that does not fit, or a mask of other
            numbers, which may be probabilities.
        SaveError
            When the disk is full; call again after freeing space (writing the same pixels twice changes
            nothing).
        """
        label = checked_label(label)
        plane, window = checked_place(plane, window, self.shape)
        mask = mask if hasattr(mask, "shape") else np.asarray(mask)  # a lazy one stays lazy
        if mask.shape != window.shape:
            raise InputError(f"The mask has the shape {mask.shape} but its window is {window.shape}.")
        contested, given = 0, False
        emptied = {label}  # who may be left without pixels: this one only when a tile cannot be written
        try:
            for tile in tiles_of(window):
                wanted = checked_mask(mask[part_of(tile, window)])
                if not wanted.any():
                    continue
                values = self.read(plane, tile)
                held = wanted & (values != 0) & (values != label)
                contested += int(np.count_nonzero(held))
                if overwrite:
                    emptied.update(np.unique(values[held]).tolist())
                else:
                    wanted &= ~held
                if wanted.any():
                    given = True
                    values[wanted] = label
                    self.put(plane, tile, values)
            emptied.discard(label)
        finally:
            known, new = self._traces.get(label, ()), (Trace(plane, window, prompts or Prompts()),)
            self.remember(label, (*known, *new) if given and known[-1:] != new else known)
            self._forget(emptied, plane, window)
        return contested

    def _forget(self, labels: Iterable[int], plane: Plane, window: Window) -> None:
        """Drop traces without a pixel in the tiles of ``window``; larger ones are not looked through."""
        top, left = (start // TILE * TILE for start in (window.top, window.left))
        near = Window(top, left, -(-window.bottom // TILE) * TILE, -(-window.right // TILE) * TILE)
        known = [(label, t) for label in labels for t in self._traces.get(label, ()) if t.plane == plane]
        inside = {(label, t.window) for label, t in known if t.window.intersect(near) == t.window}
        empty = without_pixels(lambda part: self.read(plane, part), inside)
        for label in {label for label, _ in empty}:
            traces = self._traces[label]
            self.remember(label, [t for t in traces if t.plane != plane or (label, t.window) not in empty])

    def erase(self, label: int) -> int:
        """Set an object's pixels to 0, looking only where it was written; returns their number.

        Raises
        ------
        InputError
            For what is no label.
        SaveError
            See ``write``.
        """
        label, erased = checked_label(label), 0
        for trace in self.traces_of(label):
            for tile in tiles_of(trace.window):
                values = self.read(trace.plane, tile)
                mine = values == label
                if mine.any():
                    erased += int(np.count_nonzero(mine))
                    values[mine] = 0
                    self.put(trace.plane, tile, values)
        self._traces.pop(label, None)
        return erased

    def paint(self, plane: Plane, region: Region, value: int, *, over: int | None = None) -> None:
        """Set the pixels of ``region`` to ``value``, only those that are ``over`` now where that is given.

        The caller keeps the traces.
        """
        for window, mask in region.masks():
            values = self.read(plane, window)
            values[mask if over is None else mask & (values == over)] = value
            self.put(plane, window, values)

    def remember(self, label: int, traces: Iterable[Trace]) -> None:
        """State where an object lies now; no traces: it is gone (its number is not used again)."""
        self._traces.pop(label, None)
        if found := tuple(traces):
            self._traces[label] = found
        self._next = max(self._next, label + 1)

    def reserve(self, next_label: int) -> None:
        """Numbers below ``next_label`` are used up."""
        self._next = max(self._next, next_label)

    def place(
        self,
        *,
        scale: Sequence[float] | None = None,
        translate: Sequence[float] | None = None,
        units: Sequence[object] | None = None,
    ) -> None:
        """State anew where the labels lie (see the class), as when a pixel size is given late.

        Pixels and the axes' names stay.

        Raises
        ------
        InputError
            For metadata of another length, or a scale of 0.
        SaveError
            When the folder cannot be written; then nothing has changed.
        """
        space = Space.make(len(self.shape), self.space.axes, scale, translate, units)
        if self.path is not None and space != self.space:
            saving(self.path, lambda: restate(self._group, space))
        self.space = space

    def sign(self, session: str) -> None:
        """Note on the disk that a session, told by its id, writes here."""
        if session not in self.sessions:
            self.sessions = (*self.sessions, session)
            self.flush()

    def trust_traces(self) -> None:
        """The caller has told every object by ``remember``: no search will be made."""
        self._searched = True

    def flush(self) -> None:
        """Sync what was written to the disk, and note the next label; does nothing in memory."""
        if self.path is not None:
            saving(self.path, self._flush)

    def _flush(self) -> None:
        assert self.path is not None
        notes = merge_notes(self.path, self._group, Notes(self._next, self.sessions))
        self._next, self.sessions = notes.next_label, notes.sessions
        for level, plane, window in self._unsynced:
            sync_chunks(self._levels[level], plane, window)
        sync(self.path / "zarr.json")
        self._unsynced.clear()

    def put(self, plane: Plane, window: Window, values: Labels) -> None:
        """Write the values of a window, (rows, cols) uint32, in all levels; the caller keeps the traces.

        Raises
        ------
        InputError
            For a window or values that do not fit.
        DamageError
            When a file of which a part stays cannot be read.
        SaveError
            See ``write``.
        """
        plane, window = checked_place(plane, window, self.shape)
        if window.shape != values.shape:
            raise InputError(f"The values have the shape {values.shape} but their window is {window.shape}.")
        parts = [(0, window, values), *level_parts(window, values, len(self._levels))]

        def write() -> None:
            for level, part, coarse in parts:
                put(self._levels[level], plane, part, coarse)

        with self._readable():
            saving(self.path, write)
        if self.path is not None:
            self._unsynced.update((level, plane, part) for level, part, _ in parts)

    def _search(self) -> None:
        """Find the objects of a store opened from disk, once, chunk by chunk where there may be labels."""
        if self._searched or self.path is None:
            return
        found: dict[int, list[Trace]] = {}
        for chunk in written_chunks(self._levels[0]):
            for label, plane, window in labels_in(self.block(chunk), chunk):
                found.setdefault(label, []).append(Trace(plane, window))
        for label, traces in found.items():
            self.remember(label, (*self._traces.get(label, ()), *traces))
        self._searched = True  # not before: a chunk that cannot be read must not pass for an empty one

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """A block in which files of the labels are decoded, which others may have damaged."""
        with reading(self.path, "labels") if self.path is not None else nullcontext():
            yield
