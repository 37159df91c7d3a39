"""The output of a run: an OME-Zarr labels group, with probabilities and trust beside the labels if wanted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError, SaveError
from napari_iseg.fewshot.frame import Frame, Grid, Plane
from napari_iseg.images.damage import reading
from napari_iseg.labels.layout import sync
from napari_iseg.labels.metadata import Space, ome_axes
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Window

_THICK = 16  # planes per chunk where an axis is sliced that a viewer does not: it reads across them


class Output:
    """Arrays written block by block; a single writer, so that coarser levels need no locks.

    Parameters
    ----------
    path : of the group; made when missing
    frame, grid : planes and tiles; a chunk is one core
    labels : ids, for the names of the probability channels
    space : axes, scale, translation and units of the labels
    probability : also keep float16 probabilities, channel by channel in the order of ``labels``
    """

    def __init__(
        self,
        path: Path,
        frame: Frame,
        grid: Grid,
        labels: Sequence[int],
        space: Space,
        *,
        probability: bool = False,
    ) -> None:
        self.path, self.frame, self.grid = path, frame, grid
        chunks = _chunks(frame, grid)
        if path.exists():
            self.store = LabelStore.open(path)
            self.store.place(scale=space.scale, translate=space.translate, units=space.units)
        else:
            self.store = LabelStore(
                frame.shape, path=path, chunks=chunks, name=path.name.split(".")[0], **space.to_record()
            )
        self._levels = self.store.levels
        self._probability = (
            self._array(
                "probability", (len(labels), *frame.shape), (1, *chunks), "float16", ["c", *_names(space)]
            )
            if probability
            else None
        )
        if self._probability is not None:
            self._probability.attrs["labels"] = list(labels)

    def write(
        self,
        plane: Plane,
        window: Window,
        values: npt.NDArray[np.uint32],
        probability: npt.NDArray[np.float32] | None = None,
        inside: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """Write a block and sync it to the disk.

        Parameters
        ----------
        values : (rows, cols) uint32 of ``window``
        probability : (L, rows, cols), where the output keeps it
        inside : (rows, cols), the pixels that are written, others stay as they are; None: all

        Raises
        ------
        DamageError
            When something of an earlier run that stays cannot be read.
        SaveError
            When the disk is full or read-only.
        """
        with reading(self.path, "labels"):
            self._write(plane, window, values, probability, inside)

    def _write(
        self,
        plane: Plane,
        window: Window,
        values: npt.NDArray[np.uint32],
        probability: npt.NDArray[np.float32] | None,
        inside: npt.NDArray[np.bool_] | None,
    ) -> None:
        at = self.frame.index(plane, window)
        starts = [part if isinstance(part, int) else part.start for part in at]
        if inside is not None:
            values = np.where(inside, values, self.store.block(at))
        whole = np.expand_dims(values, self.frame.leading)
        touched: list[tuple[int, list[int], tuple[int, ...]]] = []
        try:
            for level, array in enumerate(self._levels):
                part, low = _coarser(whole, starts, level)
                if part.size:
                    place = tuple(slice(s, s + n) for s, n in zip(low, part.shape, strict=True))
                    array[place] = part
                    touched.append((level, low, part.shape))
            if self._probability is not None and probability is not None:
                cells: tuple[Any, ...] = (slice(None), *at)
                kept = (
                    probability if inside is None else np.where(inside, probability, self._probability[cells])
                )
                with np.errstate(under="ignore"):
                    self._probability[cells] = kept.astype(np.float16)
                self._sync("probability", self._probability, [0, *starts], (len(kept), *whole.shape))
            for level, low, shape in touched:
                self._sync(str(level), self._levels[level], low, shape)
        except OSError as error:
            raise SaveError(
                f"The output {self.path} could not be written ({error.strerror or error}); free some space "
                "and resume: what is finished is kept."
            ) from error

    def finish(self, trust: npt.NDArray[np.float32], highest: int) -> None:
        """Write the trust of all tiles: (leading axes..., tile rows, tile cols) float32, NaN: unknown."""
        names = [_names(Space.make(len(self.frame.shape)))[axis] for axis in self.frame.leading]
        array = self._array("trust", trust.shape, trust.shape, "float32", [*names, "row", "col"])
        try:
            array[...] = trust
            array.attrs["tile_borders"] = [self.grid.borders(0), self.grid.borders(1)]
            self.store.reserve(highest + 1)
            self.store.flush()
        except OSError as error:
            raise SaveError(
                f"The output {self.path} could not be finished ({error.strerror or error}); free some space "
                "and resume."
            ) from error

    def trust(self) -> npt.NDArray[np.float32] | None:
        """The trust of an earlier run on this output; None before the first has ended.

        Raises
        ------
        DamageError
            When it cannot be read.
        """
        import zarr

        with reading(self.path, "labels"):
            group: Any = zarr.open_group(self.path, mode="r")
            return np.asarray(group["trust"], np.float32) if "trust" in group else None

    def _sync(self, name: str, array: Any, low: list[int], shape: tuple[int, ...]) -> None:
        spans = [
            range(start // chunk, -(-(start + size) // chunk))
            for start, size, chunk in zip(low, shape, array.chunks, strict=True)
        ]
        for index in np.ndindex(*[len(span) for span in spans]):
            parts = [str(span[i]) for span, i in zip(spans, index, strict=True)]
            sync(self.path.joinpath(name, "c", *parts))

    def _array(
        self, name: str, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: str, names: list[str]
    ) -> Any:
        import zarr

        try:
            group: Any = zarr.open_group(self.path, mode="r+")
            if name in group:
                if group[name].shape != shape:
                    raise InputError(
                        f"The output {self.path} keeps the {name} of {group[name].shape[0]} label(s), not of "
                        f"{shape[0]}; overwrite it or choose another name."
                    )
                return group[name]
            fill = float("nan") if name == "trust" else 0
            return group.create_array(
                name, shape=shape, chunks=chunks, dtype=dtype, fill_value=fill, dimension_names=names
            )
        except OSError as error:
            raise SaveError(
                f"The output {self.path} could not be made ({error.strerror or error}); choose another place."
            ) from error


def _chunks(frame: Frame, grid: Grid) -> tuple[int, ...]:
    chunks = [1] * len(frame.shape)
    chunks[frame.rows], chunks[frame.cols] = grid.chunk
    if frame.slicing is not None and frame.slicing >= len(frame.shape) - 2:
        chunks[frame.slicing] = min(_THICK, frame.shape[frame.slicing])
    return tuple(chunks)


def _names(space: Space) -> list[str]:
    return [axis["name"] for axis in ome_axes(space)]


def _coarser(values: npt.NDArray[Any], starts: list[int], level: int) -> tuple[npt.NDArray[Any], list[int]]:
    """Every 2^level-th pixel of the last two axes, and where that part starts."""
    step = 2**level
    low, index = list(starts), [slice(None)] * values.ndim
    for axis in (values.ndim - 2, values.ndim - 1):
        low[axis] = -(-starts[axis] // step)
        index[axis] = slice(low[axis] * step - starts[axis], None, step)
    return values[tuple(index)], low


def layout_record(frame: Frame, grid: Grid, *, probability: bool) -> dict[str, Any]:
    """What must be the same when a run is resumed, as JSON values."""
    return {
        "shape": list(frame.shape),
        "slicing axis": frame.slicing,
        "tile": grid.tile,
        "halo": grid.halo,
        "probability": probability,
    }
