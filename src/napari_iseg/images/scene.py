"""A large scene (GeoTIFF or any other image) as a colour picture in levels, in the map's own coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError
from napari_iseg.images.damage import reading_tags
from napari_iseg.images.files import GDAL_SUFFIXES, TIFF_SUFFIXES, Opened, open_image
from napari_iseg.images.nodata import quiet_tags
from napari_iseg.images.place import Place, place_of, tagged
from napari_iseg.images.source import PlaneSource
from napari_iseg.prompts import Window

_TILE = 1024  # pixels of a block
_WITHOUT_LEVELS = 100_000_000  # pixels above which looking at all of them for each overview takes too long
_COLOURS = ("red", "green", "blue")
_PIXEL_SCALE, _TIE_POINT, _TRANSFORM, _GDAL = 33550, 33922, 34264, 42112  # TIFF tags
_PROJECTED, _POINT = 1, 2  # of GTModelTypeGeoKey; of GTRasterTypeGeoKey
_LINEAR = {9001: "metre", 9002: "foot", 9003: "foot"}  # ProjLinearUnitsGeoKey; the last is the survey foot


@dataclass(frozen=True, eq=False)
class Scene:
    """What a viewer needs to show a scene.

    Attributes
    ----------
    levels : dask arrays (rows, cols, 3) uint8, finest first, each half the size of the one before
    source : what they are made from, with the values of the file
    bands : the channels shown as red, green and blue, counted from 0; one for a grey picture
    scale, translate, affine, unit : where its pixels lie, see `Place`
    on_map : whether that is a place on a map; otherwise they lie in pixels
    """

    levels: list[Any]
    source: PlaneSource
    bands: tuple[int, ...]
    scale: tuple[float, float]
    translate: tuple[float, float]
    affine: tuple[tuple[float, float, float], ...] | None
    unit: str | None
    on_map: bool


def open_scene(path: Path, bands: Sequence[int] | None = None) -> Scene:
    """Open a scene; nothing but a sample for the stretch is read.

    Parameters
    ----------
    bands : one to three channels, counted from 0; None: see `channel_options`. Other types than uint8 are
        stretched from the 0.1th to the 99.9th percentile.

    Raises
    ------
    InputError
        When the file cannot be read, is a stack, has no such bands, or is large and has no overviews.
    """
    opened = open_image(path)
    if len(opened.shape) != 2:
        raise InputError(f"{path.name} is a stack of planes, not a scene; open it with File > Open instead.")
    options = channel_options(opened, bands)
    rows, cols = opened.shape
    if rows * cols > _WITHOUT_LEVELS and not isinstance(opened.image, list):
        tiff = path.suffix.lower() in TIFF_SUFFIXES
        fix = (
            f"gdaladdo -r average {path.name} 2 4 8 16 32 64"
            if tiff
            else (f"gdal_translate -of COG {path.name} {path.stem}.tif")
        )
        raise InputError(
            f"{path.name} is large and has no overviews, so every look at the whole would read all of it; "
            f"run `{fix}` once{'' if tiff else ' and open that'}."
        )
    source = PlaneSource.wrap(opened.image, **options)
    chosen = options.get("bands", (0, 1, 2) if opened.rgb else (0,))
    found = _place(path)
    place = found or Place((1.0, 1.0), (0.0, 0.0), None, None)
    return Scene(
        _levels(source),
        source,
        tuple(chosen),
        place.scale,
        place.translate,
        place.affine,
        place.unit,
        on_map=found is not None,
    )


def channel_options(opened: Opened, bands: Sequence[int] | None = None) -> dict[str, Any]:
    """Which channels of an image are looked at, as keywords of ``PlaneSource.wrap``: the same everywhere.

    Parameters
    ----------
    bands : one to three, counted from 0; None: those that the file calls red, green and blue, the colours of
        a colour picture, or else the first three

    Raises
    ------
    InputError
        For bands that the image does not have.
    """
    if not opened.rgb and opened.channel_axis is None:
        if bands is not None and tuple(bands) != (0,):
            raise InputError(f"{opened.path.name} has one channel only; leave the bands out.")
        return {"rgb": False}
    first = opened.image[0] if isinstance(opened.image, list) else opened.image
    axis = first.ndim - 1 if opened.rgb else opened.channel_axis
    count = int(first.shape[axis])
    chosen = tuple(bands) if bands is not None else named_colours(opened.path)
    if chosen is None and opened.rgb and (count == 3 or first.dtype == np.uint8):  # with alpha
        return {"rgb": True}
    chosen = chosen or (0, 1, 2)[:count]
    if not 1 <= len(chosen) <= 3 or not all(0 <= band < count for band in chosen):
        raise InputError(
            f"{opened.path.name} has {count} band(s); give one to three, counted from 1, as in 3,2,1."
        )
    return {"channel_axis": axis, "bands": list(chosen)}


def _levels(source: PlaneSource) -> list[Any]:
    """Dask levels down to one block."""
    scale, levels = 1, [_level(source, 1)]
    while max(levels[-1].shape[:2]) > _TILE:
        scale *= 2
        levels.append(_level(source, scale))
    return levels


def _level(source: PlaneSource, scale: int) -> Any:
    import dask.array

    da: Any = dask.array
    rows, cols = (-(-extent // scale) for extent in source.shape)

    def block(block_info: Any = None) -> npt.NDArray[np.uint8]:
        (top, bottom), (left, right), _ = block_info[None]["array-location"]
        window = Window(
            top * scale,
            left * scale,
            min(bottom * scale, source.shape[0]),
            min(right * scale, source.shape[1]),
        )
        return (source.read(window, (), scale) * 255).round().astype(np.uint8)

    chunks = (_parts(rows), _parts(cols), (3,))
    return da.map_blocks(block, chunks=chunks, dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8))


def _parts(extent: int) -> tuple[int, ...]:
    whole, rest = divmod(extent, _TILE)
    return (_TILE,) * whole + ((rest,) if rest else ())


def named_colours(path: Path) -> tuple[int, int, int] | None:
    """The bands, counted from 0, that a file calls red, green and blue; None where it does not."""
    for role in ("description", "colorinterp"):
        with reading_tags(path):
            names = [name.lower() for name in _names(path, role)]
        if all(colour in names for colour in _COLOURS):
            red, green, blue = (names.index(colour) for colour in _COLOURS)
            return red, green, blue
    return None


def _names(path: Path, role: str) -> list[str]:
    """What a raster of GDAL's says of each band: its description, or the colour it stands for."""
    if path.suffix.lower() in GDAL_SUFFIXES:
        from napari_iseg.images import gdal

        return gdal.names(path, role)
    import tifffile

    text = _tags(path).get(_GDAL)
    if not isinstance(text, str):
        return []
    items = tifffile.xml2dict(text).get("GDALMetadata") or {}
    found = items.get("Item", [])
    described = {
        int(item["sample"]): str(item["value"])
        for item in (found if isinstance(found, list) else [found])
        if isinstance(item, dict) and item.get("role") == role and {"sample", "value"} <= set(item)
    }
    return [described.get(index, "") for index in range(max(described, default=-1) + 1)]


def _place(path: Path) -> Place | None:
    """Where a raster lies on the map: as GDAL has it, which looks beside the file too, or as its tags say."""
    from napari_iseg.images import gdal

    if path.suffix.lower() in GDAL_SUFFIXES:
        return gdal.place(path)
    with reading_tags(path):
        tags = _tags(path)
        given = map(tags.get, (_PIXEL_SCALE, _TIE_POINT, _TRANSFORM))
        to_map = tagged(*given, centre=tags.get("raster") == _POINT)
        unit = _LINEAR.get(tags["linear"]) if tags.get("model") == _PROJECTED else None
        place = None if to_map is None else place_of(to_map, unit)
    if not gdal.has_place(path):
        return place
    found = gdal.place(path)
    return place if found is None else replace(found, unit=found.unit or unit)


def _tags(path: Path) -> dict[Any, Any]:
    """The TIFF tags of interest, and what the GeoTIFF keys say; nothing of another file."""
    import tifffile

    if path.suffix.lower() not in TIFF_SUFFIXES:
        return {}
    with quiet_tags(), tifffile.TiffFile(path) as file:
        page: Any = file.pages.first
        found = {
            code: page.tags[code].value
            for code in (_PIXEL_SCALE, _TIE_POINT, _TRANSFORM, _GDAL)
            if code in page.tags
        }
        geo = file.geotiff_metadata or {}
    return {
        **found,
        "model": int(geo.get("GTModelTypeGeoKey", 0)),
        "raster": int(geo.get("GTRasterTypeGeoKey", 0)),
        "linear": int(geo.get("ProjLinearUnitsGeoKey", 9001)),  # left out where a number names the CRS
    }
