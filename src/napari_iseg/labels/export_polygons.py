"""Labels as polygons of a map: a GeoPackage or GeoJSON for QGIS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_iseg.errors import InputError
from napari_iseg.labels.georeference import GeoReference, import_rasterio
from napari_iseg.labels.reading import occupied_tiles
from napari_iseg.labels.store import LabelStore

_LON_LAT = "OGC:CRS84"
_RADIUS, _ECCENTRICITY = 6_378_137.0, 0.00669437999014  # of WGS 84: metres, squared
_LON_LAT_OPTIONS = {"RFC7946": "YES", "COORDINATE_PRECISION": "9"}  # a tenth of a millimetre
_TRUE = 0.01  # how far the areas of a map may be off


def write_polygons(
    labels: LabelStore, path: Path, geo: GeoReference, name: str, *, pieces: bool, geojson: bool = False
) -> None:
    """One feature per label, or per connected piece, with its label and its area in square metres.

    The array is looked at tile by tile; outlines that meet at a border of tiles are joined in whole pixels,
    which is exact, and only then moved to map coordinates.

    Parameters
    ----------
    labels : 2-D
    geo : CRS and transform
    name : of the layer in the file
    pieces : every piece is a feature of its own, for labels that are classes; pixels that share a side
        belong together
    geojson : longitude and latitude (RFC 7946) in a GeoJSON file; else a GeoPackage in the CRS of the image

    Raises
    ------
    InputError
        When a package is missing.
    OSError
        When the file cannot be written.
    """
    import_rasterio()
    try:
        import pyogrio
        import shapely
    except ImportError as error:
        raise InputError('Polygons need pyogrio and shapely: pip install "napari-iseg[geo]".') from error
    found = [
        (label, shapely.transform(shape, lambda xy: _to_map(xy, geo.transform)))
        for label, outlines in sorted(_outlines(labels).items())
        for shape in _joined(outlines, pieces)
    ]
    shapes = [shape for _, shape in found]
    kind = "Polygon" if all(shape.geom_type == "Polygon" for shape in shapes) else "MultiPolygon"
    if kind == "MultiPolygon":
        shapes = [s if s.geom_type == kind else shapely.MultiPolygon([s]) for s in shapes]
    try:
        pyogrio.raw.write(
            path,
            geometry=np.array([shapely.to_wkb(shape) for shape in shapes], object),
            field_data=[np.array([label for label, _ in found], np.int64), _areas(shapes, geo.crs)],
            fields=["label", "area_m2"],
            layer=name,
            driver="GeoJSON" if geojson else "GPKG",
            layer_options=_LON_LAT_OPTIONS if geojson else None,
            geometry_type=kind,
            crs=geo.crs.to_wkt() if geo.crs is not None else None,
        )
    # GDAL's words for a disk that is read-only, and for one that is full by the time of any of its steps
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise OSError(str(error)) from error


def check_lon_lat(geo: GeoReference, shape: tuple[int, ...]) -> None:
    """Refuse a map of ``shape`` (rows, cols) pixels that has no longitudes and latitudes on the Earth."""
    import_rasterio()
    from rasterio.warp import transform

    east, north = geo.transform * (shape[1] / 2, shape[0] / 2)
    try:
        if geo.crs is not None:
            transform(geo.crs, _LON_LAT, [east], [north])
            return
        reason: Exception | None = None
    except Exception as error:  # of another planet, or a site's own: GDAL's errors have no class to name
        reason = error
    raise InputError(
        "A GeoJSON holds longitudes and latitudes and the image's CRS gives none; save as .gpkg instead."
    ) from reason


def _outlines(labels: LabelStore) -> dict[int, list[Any]]:
    """Polygons by label, in (x, y) pixels from the corner of the first pixel; cut at the tiles' borders."""
    import shapely
    from rasterio.features import shapes
    from rasterio.transform import Affine

    found: dict[int, list[Any]] = {}
    for plane, window in occupied_tiles(labels):
        block = labels.read(plane, window).view(np.int32)  # rasterio knows no uint32
        place = Affine.translation(window.left, window.top)
        for geometry, value in shapes(block, mask=block != 0, connectivity=4, transform=place):
            label = int(value) & 0xFFFFFFFF
            found.setdefault(label, []).append(shapely.geometry.shape(geometry))
    return found


def _joined(outlines: list[Any], pieces: bool) -> list[Any]:
    """The outlines of one label without the tiles' borders."""
    import shapely

    whole = shapely.union_all(outlines).simplify(0)
    return list(shapely.get_parts(whole)) if pieces else [whole]


def _to_map(xy: Any, transform: Any) -> Any:
    """(N, 2) pixels as map coordinates."""
    x, y = xy.T
    east = transform.a * x + transform.b * y + transform.c
    north = transform.d * x + transform.e * y + transform.f
    return np.stack([east, north], 1)


def _areas(shapes: list[Any], crs: Any) -> Any:
    """(N,) float64 square metres; in units of the map where it has no CRS of the Earth.

    As the map has them, as in UTM, unless it is a hundredth off what is on the ground: Web Mercator shows an
    object at 48 degrees 2.2 times as large as it is.
    """
    import shapely

    areas = shapely.area(shapes)
    if crs is None or not shapes:
        return areas
    scale = _ground(shapes, crs)
    if scale is None:
        return areas
    ground = areas * scale
    if crs.is_geographic:
        return ground
    mapped = areas * crs.linear_units_factor[1] ** 2
    return np.where(np.abs(mapped - ground) < _TRUE * ground, mapped, ground)


def _ground(shapes: list[Any], crs: Any) -> Any:
    """(N,) square metres on the ground per square unit of the map, at the middle of each shape.

    None for a map that is not of the Earth.
    """
    import shapely
    from rasterio.warp import transform

    x, y = shapely.get_coordinates(shapely.centroid(shapes)).T
    step = 1e-5 if crs.is_geographic else 1.0
    east, north = np.concatenate([x, x + step, x]), np.concatenate([y, y, y + step])
    try:
        found = transform(crs, _LON_LAT, east, north)
    except Exception:  # of another planet, or a site's own: GDAL's errors have no class to name
        return None
    lon, lat = (np.reshape(degrees, (3, -1)) for degrees in found)
    curved = 1 - _ECCENTRICITY * np.sin(np.radians(lat[0])) ** 2
    meridian = _RADIUS * (1 - _ECCENTRICITY) / curved**1.5
    parallel = _RADIUS / curved**0.5 * np.cos(np.radians(lat[0]))
    east = np.radians((lon[1:] - lon[0] + 180) % 360 - 180) * parallel  # also across the 180th meridian
    north = np.radians(lat[1:] - lat[0]) * meridian
    return np.abs(east[0] * north[1] - east[1] * north[0]) / step**2
