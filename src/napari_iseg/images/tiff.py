"""TIFF files of every trade: what their axes and pixel sizes are, read lazily where they are large."""

from __future__ import annotations

import math
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_iseg.images.damage import reading_tags, unless_damaged
from napari_iseg.images.files import Opened
from napari_iseg.images.lazy import LookedUp, Turned
from napari_iseg.images.nodata import TAG, quiet_tags, stated_nodata, without_nodata

LAZY_BYTES = 64 << 20  # larger images are read by windows
_PALETTE = 3  # what the tag PhotometricInterpretation says of indices


def open_tiff(path: Path, *, numbers: bool = False) -> Opened:
    """The first series of a TIFF file, as a numpy array or, when large or a pyramid, as zarr arrays.

    Parameters
    ----------
    numbers : see `napari_iseg.images.files.open_image`

    Raises
    ------
    InputError
        When the file is damaged, no TIFF, or compressed in a way that needs the package imagecodecs.
    """
    import tifffile

    with reading_tags(path), quiet_tags(), ExitStack() as closing:
        file = closing.enter_context(tifffile.TiffFile(path))
        series = file.series[0]
        beside = [] if len(series.levels) > 1 else _overviews(path, series, closing)
        lazy = len(series.levels) > 1 or bool(beside) or series.nbytes > LAZY_BYTES
        image = _levels(series, path) + beside if lazy else [series.asarray()]
        sizes = _pixel_sizes(file)
        nodata = _nodata(file, series.dtype)
        table = None if numbers else _table(file, series)
        if lazy:
            closing.pop_all()
    axes = series.axes
    rgb, channel = _colours(axes, series.shape)
    keep = [index for index in range(len(axes)) if not (rgb and index == len(axes) - 1) and index != channel]
    letters = [axes[index] for index in keep]
    scale = tuple(sizes.get(letter, (1.0, None))[0] for letter in letters) if sizes else None
    units = tuple(sizes.get(letter, (1.0, None))[1] for letter in letters) if sizes else None
    if table is not None:
        image = [LookedUp(level, table) for level in image]
        nodata = None  # it is a colour now
    return Opened(
        path,
        without_nodata(image if len(image) > 1 else image[0], nodata),
        _names(letters),
        scale,
        units,
        rgb=rgb or (table is not None and table.ndim == 2),
        channel_axis=channel,
        nodata=nodata,
    )


def _levels(series: Any, path: Path) -> list[Any]:
    """The levels of a series as zarr arrays that read windows."""
    return [_windowed(series.aszarr(level=k), path) for k in range(len(series.levels))]


def _windowed(store: Any, path: Path) -> Any:
    import zarr

    store.root = path  # as zarr's own stores have it: who reads later can name the file
    return zarr.open_array(store, mode="r")


def _overviews(path: Path, series: Any, closing: ExitStack) -> list[Any]:
    """The coarser levels that GDAL has put beside a file of one plane, in PATH.ovr, finest first.

    There are no such levels where that file is empty or no TIFF: the picture is whole without them.
    """
    beside = path.with_name(f"{path.name}.ovr")
    if not beside.is_file():
        return []
    return unless_damaged(partial(_levels_beside, beside, series, closing)) or []


def _levels_beside(beside: Path, series: Any, closing: ExitStack) -> list[Any]:
    import tifffile

    with ExitStack() as opening, reading_tags(beside):
        file = opening.enter_context(tifffile.TiffFile(beside))
        pages = [page for page in file.pages if _is_overview(page, series)]
        levels = [_windowed(page.aszarr(), beside) for page in pages]
        closing.enter_context(opening.pop_all())  # it stays open; where it is damaged, not
    turns = [[page.axes.index(axis) for axis in series.axes] for page in pages]  # its colours may lie apart
    found = [
        level if turn == sorted(turn) else Turned(level, turn)
        for level, turn in zip(levels, turns, strict=True)
    ]
    return sorted(found, key=lambda level: -math.prod(level.shape))


def _is_overview(page: Any, series: Any) -> bool:
    """Whether a page shows all of a series, smaller by a whole number; not its mask."""
    if sorted(page.axes) != sorted(series.axes) or page.dtype != series.dtype or page.is_mask:
        return False
    small = dict(zip(page.axes, page.shape, strict=True))
    full = dict(zip(series.axes, series.shape, strict=True))
    factor = round(max(full[axis] / small[axis] for axis in "YX"))
    return factor > 1 and all(
        abs(small[axis] - size / factor) < 1 if axis in "YX" else small[axis] == size
        for axis, size in full.items()
    )


def _table(file: Any, series: Any) -> npt.NDArray[np.uint8] | None:
    """What the values of a picture stand for: (entries, 3) colours or (entries,) greys; None: themselves.

    A microscope's look-up table only says how intensities are to be shown.
    """
    page = file.pages.first
    bits, colours = page.bitspersample, page.colormap
    channels = "S" in series.axes or "C" in series.axes
    if file.is_imagej or file.is_ome or channels or np.dtype(series.dtype).kind not in "bu":
        return None
    if colours is not None and bits <= 16 and series.axes == "YX" and (_is_map(file) or _is_drawing(page)):
        narrow = colours.max() < 256  # written by programs that take the 16 bits for 8
        table = np.zeros((2**bits, 3), np.uint8)  # of fewer entries, the rest is black
        known = (colours if narrow else colours >> 8).T[: 2**bits]
        table[: len(known)] = known
        return table
    if 1 < bits < 8 and page.photometric != _PALETTE:
        return np.round(np.linspace(0, 255, 2**bits)).astype(np.uint8)
    return None


def _is_map(file: Any) -> bool:
    """Whether it is GDAL's, which leaves greys as the photometric where colours came after the pixels."""
    return bool(file.is_geotiff or file.is_gdal)


def _is_drawing(page: Any) -> bool:
    """Whether values stand for colours; not a microscope's 16 bits, nor greys with a table beside them."""
    return bool(page.photometric == _PALETTE and page.bitspersample <= 8)


def _nodata(file: Any, dtype: Any) -> Any:
    """The value that GDAL gives to pixels without data."""
    tag = file.pages.first.tags.get(TAG)
    return None if tag is None else stated_nodata(tag.value, np.dtype(dtype))


def _colours(axes: str, shape: tuple[int, ...]) -> tuple[bool, int | None]:
    """Whether the last axis is colour, and the axis of channels that are not."""
    if axes.endswith("S") and shape[-1] in (3, 4):
        return True, None
    for letter in "SC":
        if letter in axes:
            return False, axes.index(letter)
    return False, None


def _names(letters: list[str]) -> tuple[str, ...]:
    """Axis names; a stack whose axis the file does not name is called z."""
    named = ["z" if letter in "IQ" else letter.lower() for letter in letters]
    return tuple(f"{name}{index}" if named.count(name) > 1 else name for index, name in enumerate(named))


def _pixel_sizes(file: Any) -> dict[str, tuple[float, str | None]]:
    """Axis letter -> (size, unit) from OME or ImageJ metadata; empty when neither is there."""
    if file.ome_metadata:
        return _ome_sizes(file.ome_metadata)
    if file.imagej_metadata is not None:
        return _imagej_sizes(file)
    return {}


def _ome_sizes(text: str) -> dict[str, tuple[float, str | None]]:
    """Pixel sizes of the first image of an OME-XML text."""
    import tifffile

    images = tifffile.xml2dict(text).get("OME", {}).get("Image", {})
    pixels = (images[0] if isinstance(images, list) else images).get("Pixels", {})
    sizes: dict[str, tuple[float, str | None]] = {}
    for letter in "ZYX":
        size = _size(pixels.get(f"PhysicalSize{letter}"))
        if size:
            sizes[letter] = (size, str(pixels.get(f"PhysicalSize{letter}Unit", "µm")))
    interval = _size(pixels.get("TimeIncrement"))
    if interval:
        sizes["T"] = (interval, str(pixels.get("TimeIncrementUnit", "s")))
    return sizes


def _imagej_sizes(file: Any) -> dict[str, tuple[float, str | None]]:
    """Pixel sizes as ImageJ writes them: resolution tags, spacing, frame interval and units."""
    metadata, tags = file.imagej_metadata, file.pages[0].tags
    unit = str(metadata.get("unit", "")).replace("\\u00B5", "µ") or None
    sizes: dict[str, tuple[float, str | None]] = {}
    for letter, name in (("Y", "YResolution"), ("X", "XResolution")):
        above, below = tags[name].value if name in tags else (0, 0)
        if unit and above and below:
            sizes[letter] = (below / above, unit)
    spacing, interval = _size(metadata.get("spacing")), _size(metadata.get("finterval"))
    if unit and spacing:
        sizes["Z"] = (spacing, unit)
    if interval:
        sizes["T"] = (interval, str(metadata.get("tunit", "s")))
    return sizes


def _size(value: Any) -> float | None:
    """A size that makes sense, or None: programs write 0, -1 or nan where they do not know it."""
    try:
        size = float(value)
    except (TypeError, ValueError):
        return None
    return size if math.isfinite(size) and size > 0 else None
