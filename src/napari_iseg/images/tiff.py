"""TIFF files of every trade: what their axes and pixel sizes are, read lazily where they are large."""

from __future__ import annotations

import math
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from napari_iseg.images.damage import reading_tags
from napari_iseg.images.files import Opened
from napari_iseg.images.nodata import TAG, quiet_tags, stated_nodata, without_nodata

LAZY_BYTES = 64 << 20  # larger images are read by windows


def open_tiff(path: Path) -> Opened:
    """The first series of a TIFF file, as a numpy array or, when large or a pyramid, as zarr arrays.

    Raises
    ------
    InputError
        When the file is damaged, no TIFF, or compressed in a way that needs the package imagecodecs.
    """
    import tifffile

    with reading_tags(path), quiet_tags(), ExitStack() as closing:
        file = closing.enter_context(tifffile.TiffFile(path))
        series = file.series[0]
        lazy = len(series.levels) > 1 or series.nbytes > LAZY_BYTES
        image = _levels(series, path) if lazy else series.asarray()
        sizes = _pixel_sizes(file)
        nodata = _nodata(file, series.dtype)
        if lazy:
            closing.pop_all()
    axes = series.axes
    rgb, channel = _colours(axes, series.shape)
    keep = [index for index in range(len(axes)) if not (rgb and index == len(axes) - 1) and index != channel]
    letters = [axes[index] for index in keep]
    scale = tuple(sizes.get(letter, (1.0, None))[0] for letter in letters) if sizes else None
    units = tuple(sizes.get(letter, (1.0, None))[1] for letter in letters) if sizes else None
    return Opened(
        path,
        without_nodata(image, nodata),
        _names(letters),
        scale,
        units,
        rgb=rgb,
        channel_axis=channel,
        nodata=nodata,
    )


def _levels(series: Any, path: Path) -> Any:
    """The levels of a series as zarr arrays that read windows; one array when there is one level."""
    import zarr

    stores = [series.aszarr(level=k) for k in range(len(series.levels))]
    for store in stores:
        store.root = path  # as zarr's own stores have it: who reads later can name the file
    levels = [zarr.open_array(store, mode="r") for store in stores]
    return levels if len(levels) > 1 else levels[0]


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
