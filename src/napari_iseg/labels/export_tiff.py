"""Labels as TIFF: ImageJ, OME and GeoTIFF, streamed."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_iseg.errors import InputError
from napari_iseg.labels.arrange import image_order
from napari_iseg.labels.full_disk import with_reason
from napari_iseg.labels.georeference import GeoReference, import_rasterio
from napari_iseg.labels.reading import occupied_tiles
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Window

_ORDER = "TCZYX"  # of the axes where their names say nothing
_TILE = 512
_IMAGEJ_PLANE = 2**24  # pixels: larger planes are not held in memory but written in tiles
_IMAGEJ_FILE = 2**31  # bytes that a classic TIFF safely holds
_IMAGEJ_UNITS = {"micrometer": "um", "nanometer": "nm", "millimeter": "mm", "centimeter": "cm", "meter": "m"}
_OME_UNITS = {
    "micrometer": "µm",
    "nanometer": "nm",
    "millimeter": "mm",
    "centimeter": "cm",
    "meter": "m",
    "second": "s",
    "millisecond": "ms",
    "minute": "min",
    "hour": "h",
}


def write_geotiff(labels: LabelStore, path: Path, geo: GeoReference) -> None:
    """A tiled, compressed uint32 GeoTIFF of a 2-D store; tiles without labels are not looked at.

    Raises
    ------
    OSError
        When the file cannot be written.
    """
    rasterio = import_rasterio()
    try:
        with _geotiff(path, labels.shape, geo) as target:
            for plane, window in occupied_tiles(labels):
                span = rasterio.windows.Window(window.left, window.top, window.width, window.height)
                target.write(labels.read(plane, window), 1, window=span)
        _check_whole(path)
    except OSError as error:
        raise with_reason(error, path) from error


def _geotiff(path: Path, shape: tuple[int, ...], geo: GeoReference) -> Any:
    """The file as rasterio opens it, for a ``with`` statement."""
    rasterio = import_rasterio()
    place = {"gcps": geo.gcps} if geo.transform is None else {"transform": geo.transform}
    with warnings.catch_warnings():  # that it has a CRS and no transform, as the image has
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        return rasterio.open(
            path,
            "w",
            driver="GTiff",
            height=shape[0],
            width=shape[1],
            count=1,
            dtype="uint32",
            crs=geo.crs,
            compress="deflate",
            tiled=True,
            blockxsize=_TILE,
            blockysize=_TILE,
            sparse_ok=True,
            BIGTIFF="IF_SAFER",
            **place,
        )


def _check_whole(path: Path) -> None:
    """Refuse a file whose last tiles lie beyond its end: GDAL keeps an error in closing it to itself."""
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            ends = np.add(page.dataoffsets, page.databytecounts)
    except (tifffile.TiffFileError, struct.error, ValueError) as error:
        raise OSError("its beginning was not written") from error
    if ends.max() > path.stat().st_size:
        raise OSError("its end was not written")


def tiff_order(labels: LabelStore) -> list[int]:
    """The image's order of axes; a TIFF's, rows and columns last, where their names say it is another."""
    order, letters = image_order(labels), _stated(labels)
    if len(letters) < 3 or [letters[axis] for axis in order[-2:]] == ["Y", "X"]:
        return order
    return sorted(order, key=lambda axis: _ORDER.index(letters[axis]))


def write_tiff(labels: LabelStore, path: Path, *, ome: bool) -> None:
    """ImageJ TIFF where it can hold the labels and ``ome`` is not asked for; OME-TIFF otherwise.

    The labels have their axes as in ``tiff_order``.
    """
    highest = labels.next_label() - 1
    *lead, rows, cols = labels.shape
    count = int(np.prod(lead, dtype=np.int64))
    fits = rows * cols <= _IMAGEJ_PLANE and count * rows * cols * 2 < _IMAGEJ_FILE and len(lead) <= 3
    if not ome and fits and highest <= 65535:
        _write_imagej(labels, path)
    else:
        _write_ome(labels, path, np.dtype(np.uint16 if highest <= 65535 else np.uint32))


def _stated(labels: LabelStore) -> list[str]:
    """The TIFF axis letters of a store whose axes have names that a TIFF knows; none otherwise."""
    letters = [name[:1].upper() for name in labels.space.axes]
    return letters if {"Y", "X"} <= set(letters) <= set(_ORDER) and len(set(letters)) == len(letters) else []


def _letters(labels: LabelStore) -> list[str]:
    """One TIFF axis letter per axis of the store, all different, rows and columns last."""
    letters = _stated(labels)
    if letters[-2:] == ["Y", "X"]:
        return letters
    return list("TZYX" if len(labels.shape) == 4 else _ORDER[-len(labels.shape) :])


def _write_imagej(labels: LabelStore, path: Path) -> None:
    letters, space = _letters(labels), labels.space
    lead = [axis for axis in "TZC" if axis in letters[:-2]]
    sizes = [labels.shape[letters.index(axis)] for axis in lead]
    scale = dict(zip(letters, map(abs, space.scale), strict=True))  # a TIFF knows no directions
    units = dict(zip(letters, space.units, strict=True))
    metadata: dict[str, Any] = {"axes": "".join([*lead, "Y", "X"])}
    if units["X"] is not None:
        metadata["unit"] = _IMAGEJ_UNITS.get(units["X"], units["X"])
    if "Z" in scale:
        metadata["spacing"] = scale["Z"]
    if "T" in scale and units["T"] in ("second", None):
        metadata["finterval"] = scale["T"]

    def pages() -> Iterator[NDArray[np.uint16]]:
        for index in product(*map(range, sizes)):
            at = dict(zip(lead, index, strict=True))
            yield labels.read(tuple(at[letter] for letter in letters[:-2])).astype(np.uint16)

    shape = (*sizes, *labels.shape[-2:])
    resolution = (1 / scale["X"], 1 / scale["Y"])
    with tifffile.TiffWriter(path, imagej=True) as tiff:
        if lead:
            tiff.write(pages(), shape=shape, dtype=np.uint16, resolution=resolution, metadata=metadata)
        else:
            tiff.write(next(pages()), resolution=resolution, metadata=metadata)


def _write_ome(labels: LabelStore, path: Path, dtype: np.dtype[Any]) -> None:
    if len(labels.shape) > 5:
        raise InputError(f"OME-TIFF holds at most 5 axes, these labels have {len(labels.shape)}.")
    letters, space = _letters(labels), labels.space
    metadata: dict[str, Any] = {"axes": "".join(letters)}
    for letter, scale, unit in zip(letters, space.scale, space.units, strict=True):
        key = "TimeIncrement" if letter == "T" else f"PhysicalSize{letter}"
        if letter != "C" and unit is not None:
            metadata |= {key: abs(scale), f"{key}Unit": _OME_UNITS.get(unit, unit)}
    size = np.prod(labels.shape, dtype=np.int64) * dtype.itemsize
    with tifffile.TiffWriter(path, ome=True, bigtiff=bool(size >= _IMAGEJ_FILE)) as tiff:
        tiff.write(
            _tiles(labels, dtype),
            shape=labels.shape,
            dtype=dtype,
            tile=(_TILE, _TILE),
            compression="zlib",
            photometric="minisblack",
            metadata=metadata,
        )


def _tiles(labels: LabelStore, dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """Every tile of every plane, in the order of a TIFF; the empty ones without asking the store."""
    *lead, rows, cols = labels.shape
    known = {(plane, window.top, window.left): window for plane, window in occupied_tiles(labels, _TILE)}
    empty = np.zeros((_TILE, _TILE), dtype)
    for plane in product(*map(range, lead)):
        for top, left in product(range(0, rows, _TILE), range(0, cols, _TILE)):
            window: Window | None = known.get((plane, top, left))
            if window is None:
                yield empty
                continue
            tile = empty.copy()
            tile[: window.height, : window.width] = labels.read(plane, window)
            yield tile
