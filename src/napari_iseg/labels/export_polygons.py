"""Labels as polygons of a map: a GeoPackage or GeoJSON for QGIS."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from napari_iseg.errors import InputError
from napari_iseg.labels.full_disk import with_reason
from napari_iseg.labels.georeference import GeoReference, import_rasterio
from napari_iseg.labels.reading import occupied_tiles
from napari_iseg.labels.store import LabelStore

_LON_LAT = "OGC:CRS84"
_RADIUS, _ECCENTRICITY = 6_378_137.0, 0.00669437999014  # of WGS 84: metres, squared
_LON_LAT_OPTIONS = {"RFC7946": "YES", "COORDINATE_PRECISION": "9"}  # a tenth of a millimetre
_LOOKS = 9  # places along each side of an image that are asked for their longitude and latitude
_EMPTY = 2**17  # bytes: more than a GeoPackage of nothing
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
    geo : CRS and transform; without a CRS the file names none, and areas are in square units of its map
    name : of the layer in the file
    pieces : every piece is a feature of its own, for labels that are classes; pixels that share a side
        belong together
    geojson : longitude and latitude (RFC 7946) in a GeoJSON file; else a GeoPackage in the CRS of the image

    Raises
    ------
    InputError
        When a package is missing; for GeoJSON of an object where the map shows no place on the Earth.
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
    if geojson:
        _check_on_earth(found, geo.crs)
    kind = "Polygon" if all(shape.geom_type == "Polygon" for shape in shapes) else "MultiPolygon"
    if kind == "MultiPolygon":
        shapes = [s if s.geom_type == kind else shapely.MultiPolygon([s]) for s in shapes]
    outlines = [shapely.to_wkb(shape) for shape in shapes]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "'crs' was not provided", UserWarning)  # a world file has none
            pyogrio.raw.write(
                path,
                geometry=np.array(outlines, object),
                field_data=[np.array([label for label, _ in found], np.int64), _areas(shapes, geo.crs)],
                fields=["label", "area_m2"],
                layer=name,
                driver="GeoJSON" if geojson else "GPKG",
                layer_options=_LON_LAT_OPTIONS if geojson else None,
                geometry_type=kind,
                crs=geo.crs.to_wkt() if geo.crs is not None else None,
            )
    # GDAL's words for a disk that is read-only, and for one that is full by the time of any step. What
    # it wrote of a GeoPackage it has taken back by then: for a moment that is twice the outlines.
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise with_reason(error, path, _EMPTY + 2 * sum(map(len, outlines))) from error


def check_lon_lat(geo: GeoReference, shape: tuple[int, ...]) -> None:
    """Refuse a map of ``shape`` (rows, cols) pixels that has no longitudes and latitudes on the Earth.

    A map that has them in places only, as the whole disk that a satellite sees, is none of these.
    """
    import_rasterio()
    steps = np.linspace(0, 1, _LOOKS)
    pixels = np.stack(np.meshgrid(steps * shape[1], steps * shape[0]), -1).reshape(-1, 2)
    if geo.crs is None or np.isnan(_lon_lat(geo.crs, *_to_map(pixels, geo.transform).T)).all():
        raise InputError(
            "A GeoJSON holds longitudes and latitudes and the image's CRS gives none; save as .gpkg instead."
        )


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
    """(N,) float64 square metres; in units of the map where it shows no place on the Earth.

    As the map has them, as in UTM, unless it is a hundredth off what is on the ground: Web Mercator shows an
    object at 48 degrees 2.2 times as large as it is.
    """
    import shapely

    areas = shapely.area(shapes)
    if crs is None or not shapes:
        return areas
    ground = areas * _ground(shapes, crs)
    if crs.is_projected:
        mapped = areas * crs.linear_units_factor[1] ** 2
        ground = np.where(np.abs(mapped - ground) < _TRUE * ground, mapped, ground)
    return np.where(np.isnan(ground), areas, ground)


def _ground(shapes: list[Any], crs: Any) -> Any:
    """(N,) square metres on the ground per square unit of the map, at the middle of each shape.

    NaN where the map shows no place on the Earth. Measured in space, as longitudes turn round at a pole and
    jump at the 180th meridian.
    """
    import shapely

    x, y = shapely.get_coordinates(shapely.centroid(shapes)).T
    step = 1e-5 if crs.is_geographic else 1.0
    east, north = np.concatenate([x, x + step, x]), np.concatenate([y, y, y + step])
    corner, right, up = np.split(_in_space(*np.radians(_lon_lat(crs, east, north))), 3)
    return np.linalg.norm(np.cross(right - corner, up - corner), axis=1) / step**2


def _in_space(lon: Any, lat: Any) -> Any:
    """(N, 3) metres from the middle of the Earth, of places on its ellipsoid in radians."""
    normal = _RADIUS / np.sqrt(1 - _ECCENTRICITY * np.sin(lat) ** 2)
    aside, along = normal * np.cos(lat), normal * (1 - _ECCENTRICITY) * np.sin(lat)
    return np.stack([aside * np.cos(lon), aside * np.sin(lon), along], 1)


def _check_on_earth(found: list[tuple[int, Any]], crs: Any) -> None:
    """Refuse labels of which a part has no longitude and latitude."""
    import shapely

    xy, at = shapely.get_coordinates([shape for _, shape in found], return_index=True)
    off = sorted({found[index][0] for index in at[np.isnan(_lon_lat(crs, *xy.T)).any(0)]})
    if off:
        more = f" (and {len(off) - 1} more)" if len(off) > 1 else ""
        raise InputError(
            f"Label {off[0]}{more} reaches beyond the Earth, where the image's map has no longitude and "
            "latitude; erase it there, or save as .gpkg, which keeps the coordinates of the map."
        )


def _lon_lat(crs: Any, east: Any, north: Any) -> Any:
    """(2, N) degrees; NaN where the map shows no place on the Earth."""
    from rasterio.warp import transform

    try:
        found = np.array(transform(crs, _LON_LAT, east, north))
        return np.where(np.isfinite(found), found, np.nan)
    except Exception as error:  # GDAL's errors have no class to name
        # of another planet or a site's own, which takes long to find out, or a single place
        if len(east) == 1 or "Cannot find coordinate operations" in str(error):
            return np.full((2, len(east)), np.nan)
    half = len(east) // 2  # all are refused for one
    return np.concatenate([_lon_lat(crs, east[s], north[s]) for s in (slice(half), slice(half, None))], 1)
