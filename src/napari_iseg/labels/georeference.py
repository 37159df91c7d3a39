"""Where pixels lie on the Earth: read from a GeoTIFF, and the way from map coordinates to pixels and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tifffile

from napari_iseg.errors import InputError

_GEO_KEYS = 34735  # the tag that makes a TIFF a GeoTIFF
_TRANSFORM_TAGS = (33550, 34264)
_LON_LAT = "OGC:CRS84"  # of a GeoJSON file that names no CRS (RFC 7946)


@dataclass(frozen=True, slots=True)
class GeoReference:
    """Where the pixels of a plane lie on the Earth, as rasterio describes it."""

    crs: Any
    transform: Any


def geo_reference(like: Path | None, crs: Any, transform: Any) -> GeoReference | None:
    """CRS and transform as given, or else those of the GeoTIFF ``like``; None without any.

    Raises InputError when there are some but rasterio is not installed, or when the CRS is not known or the
    transform is none.
    """
    known = like is not None and is_geotiff(like)
    if not known and crs is None and transform is None:
        return None
    rasterio = import_rasterio()
    if crs is not None:
        try:
            crs = rasterio.crs.CRS.from_user_input(crs)
        except rasterio.errors.CRSError as error:
            raise InputError(f"The CRS {crs!r} is not known; give one like EPSG:25832.") from error
    if transform is not None:
        try:
            transform = rasterio.Affine(*tuple(transform)[:6])
        except (TypeError, ValueError) as error:
            raise InputError(
                f"The transform must be an affine.Affine or its six numbers, got {transform!r}."
            ) from error
    if known:
        with rasterio.open(like) as source:
            crs = crs if crs is not None else source.crs
            transform = transform if transform is not None else source.transform
    return GeoReference(crs, transform)


def is_geotiff(path: Path) -> bool:
    """Whether a file is a TIFF with map coordinates."""
    if not path.is_file() or path.suffix.lower() not in (".tif", ".tiff"):
        return False
    try:
        with tifffile.TiffFile(path) as tiff:
            tags = tiff.pages.first.tags
            return _GEO_KEYS in tags or any(tag in tags for tag in _TRANSFORM_TAGS)
    except (tifffile.TiffFileError, OSError):
        return False


def import_rasterio() -> Any:
    """The package rasterio; raises InputError when it is not installed."""
    try:
        import rasterio
    except ImportError as error:
        raise InputError('Map coordinates need rasterio: pip install "napari-iseg[geo]".') from error
    return rasterio


def to_pixels(
    polygons: Sequence[Any], crs: str | None, like: Path | None
) -> list[list[list[tuple[float, float]]]]:
    """GeoJSON polygons as rings of (row, col) corners, pixel centres at integers.

    Parameters
    ----------
    polygons : GeoJSON geometries of type Polygon
    crs : of their coordinates; None: longitude and latitude
    like : the image; unless it is a GeoTIFF, the coordinates are taken for (x, y) pixels

    Raises
    ------
    InputError
        When rasterio is missing, or the CRS is unknown or cannot be brought to the image's.
    """
    geo = geo_reference(like, None, None)
    if geo is None:
        return [[[(y - 0.5, x - 0.5) for x, y, *_ in ring] for ring in p["coordinates"]] for p in polygons]
    rasterio = import_rasterio()
    from rasterio.warp import transform_geom

    try:
        source = rasterio.crs.CRS.from_user_input(crs or _LON_LAT)
        if geo.crs is not None and source != geo.crs:
            polygons = transform_geom(source, geo.crs, list(polygons))
    except rasterio.errors.CRSError as error:
        raise InputError(
            f"The polygons' CRS {crs!r} is not known; export them in that of the image."
        ) from error
    back = ~geo.transform
    return [
        [
            [
                (back.d * x + back.e * y + back.f - 0.5, back.a * x + back.b * y + back.c - 0.5)
                for x, y, *_ in ring
            ]
            for ring in polygon["coordinates"]
        ]
        for polygon in polygons
    ]
