"""Where pixels lie on the Earth: read from a raster, and the way from map coordinates to pixels and back."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_iseg.errors import InputError
from napari_iseg.images.damage import reading_tags
from napari_iseg.images.gdal import has_place, on_map
from napari_iseg.images.place import is_place

_GEO_KEYS = 34735  # the tag that makes a TIFF a GeoTIFF
_TRANSFORM_TAGS = (33550, 34264)
_LON_LAT = "OGC:CRS84"  # of a GeoJSON file that names no CRS (RFC 7946)


@dataclass(frozen=True, slots=True)
class GeoReference:
    """Where the pixels of a plane lie on the Earth, as rasterio describes it.

    ``shape`` : (rows, cols) of the file whose transform it is; None where the transform was given
    ``gcps`` : ground control points, in the CRS, of a file that has these and no transform
    """

    crs: Any
    transform: Any
    shape: tuple[int, int] | None = None
    gcps: tuple[Any, ...] = ()


def geo_reference(like: Path | None, crs: Any, transform: Any) -> GeoReference | None:
    """CRS and transform as given, or else those of the raster ``like``; None without any.

    A transform of ``like`` that places no pixels, as one of NaN or the identity, counts as none; beside a CRS
    it is None.
    Raises InputError when there are some but rasterio is not installed, when the CRS is not known or a given
    transform is none, or when ``like`` is damaged or not there.
    """
    if like is not None and not like.exists():
        raise InputError(f"There is no image at {like}; check the path, as the place on the map is its.")
    known = like is not None and (is_geotiff(like) or has_place(like))
    if not known and crs is None and transform is None:
        return None
    rasterio = import_rasterio()
    if crs is not None:
        try:
            crs = rasterio.crs.CRS.from_user_input(crs)
        except rasterio.errors.CRSError as error:
            raise InputError(f"The CRS {crs!r} is not known; give one like EPSG:25832.") from error
    if transform is not None:
        transform = _affine(transform)
    if known:
        assert like is not None
        with reading_tags(like), warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(like) as source:
                return _completed(source, crs, transform)
    return GeoReference(crs, transform)


def _completed(source: Any, crs: Any, transform: Any) -> GeoReference | None:
    """CRS and transform as given, or else those of an open raster; None without any."""
    gcps, points_crs = source.gcps
    crs = next((known for known in (crs, source.crs, points_crs) if known is not None), None)
    if transform is not None:
        return GeoReference(crs, transform)
    if on_map(source.transform):
        return GeoReference(crs, source.transform, source.shape)
    return GeoReference(crs, None, source.shape, tuple(gcps)) if crs is not None or gcps else None


def _affine(given: Any) -> Any:
    """A transform as rasterio takes it; InputError where it is none, or places no pixels."""
    with suppress(TypeError, ValueError):
        made = import_rasterio().Affine(*tuple(given)[:6])
        if is_place(tuple(made)[:6]):
            return made
    raise InputError(
        "The transform must be an affine.Affine or its six numbers, and give every pixel a place of its own; "
        f"got {given!r}."
    )


def _placed(raster: Path | None) -> GeoReference | None:
    """Where a raster lies; None without a transform, whatever CRS its file names."""
    geo = geo_reference(raster, None, None)
    return None if geo is None or geo.transform is None else geo


def check_same_place(image: Path, labels: Path) -> None:
    """Refuse labels that by their own map coordinates lie elsewhere than the image, by half a pixel or more.

    Without rasterio, or where one of them has no map coordinates, nothing is compared.
    """
    try:
        ours, theirs = _placed(image), _placed(labels)
    except InputError:
        if find_spec("rasterio") is None:
            return
        raise
    if ours is None or theirs is None:
        return
    moved = _moved(ours, theirs)
    if moved >= 0.5:
        other = theirs.crs is not None and theirs.crs != ours.crs
        named = f" ({theirs.crs.to_string()[:60]})" if other else ""
        west, north = theirs.transform * (0, 0)
        raise InputError(
            f"{labels} begins at ({west:.10g}, {north:.10g}) on the map{named} and lies {moved:.1f} pixels "
            "beside the image; bring it onto the pixels of the image (gdalwarp), or give it without map "
            "coordinates."
        )


def _moved(ours: GeoReference, theirs: GeoReference) -> float:
    """By how many pixels of ours the first or last pixel of theirs lies beside its place in the image."""
    from rasterio.warp import transform

    rows, cols = theirs.shape or (1, 1)
    corners = ((0, 0), (cols, rows))
    east, north = zip(*(theirs.transform * corner for corner in corners), strict=True)
    if ours.crs is not None and theirs.crs is not None and ours.crs != theirs.crs:
        try:
            east, north = transform(theirs.crs, ours.crs, east, north)  # one place may have two names
        except Exception:  # of two planets: GDAL's errors have no class to name
            return math.inf
    back = ~ours.transform
    found = np.array([back * place for place in zip(east, north, strict=True)])
    return float(np.abs(found - corners).max())


def is_geotiff(path: Path) -> bool:
    """Whether a file is a TIFF with map coordinates; InputError where its tags are damaged."""
    if not path.is_file() or path.suffix.lower() not in (".tif", ".tiff"):
        return False
    with reading_tags(path):
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
    crs : of their coordinates; None: longitude (-180 to 360, as maps of the world begin at either) and
        latitude
    like : the image; unless it is a GeoTIFF, the coordinates are taken for (x, y) pixels

    Raises
    ------
    InputError
        When rasterio is missing, the image is not there or has no map coordinates but the polygons have a
        CRS, or the CRS is unknown or cannot be brought to the image's.
    """
    geo = _placed(like)
    if geo is None and crs is not None:
        lacks = "no image is given (like=...)" if like is None else f"{like.name} has no map coordinates"
        raise InputError(
            f"The polygons name a CRS ({crs[:60]}) but {lacks}; give the GeoTIFF that they lie on, or "
            "polygons in (x, y) pixels that name none."
        )
    corners = [corner for polygon in polygons for ring in polygon["coordinates"] for corner in ring]
    if geo is not None and crs is None and any(x < -180 or x > 360 or abs(y) > 90 for x, y, *_ in corners):
        raise InputError(
            "The polygons name no CRS and their numbers are no longitudes and latitudes; export them with "
            "their CRS, or in EPSG:4326."
        )
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
