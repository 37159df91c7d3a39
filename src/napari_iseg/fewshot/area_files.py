"""Files of polygons: GeoJSON, and what pyogrio reads where it is installed."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from napari_iseg.errors import InputError

Polygon = dict[str, Any]


def read_polygons(path: Path) -> tuple[list[Polygon], str | None]:
    """Polygons, as GeoJSON geometries of (x, y) corners without heights, and their CRS if the file names one.

    Raises
    ------
    InputError
        When the file cannot be read, or holds no polygon or several layers.
    """
    try:
        with path.open("rb") as file:
            is_json = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
        shapes, crs = _geojson(path) if is_json else _layer(path)
    except OSError as error:
        raise InputError(f"{path} could not be read ({error.strerror or error}).") from error
    if not shapes:
        raise InputError(f"{path} holds no polygon; draw at least one.")
    return shapes, crs


def _geojson(path: Path) -> tuple[list[Polygon], str | None]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        shapes = [_polygon(rings) for rings in _polygons(content) if rings]
        stated = content.get("crs")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no GeoJSON file of polygons; export one from your GIS.") from error
    try:
        return shapes, None if stated is None else str(stated["properties"]["name"])
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path} does not state its CRS by name; export it from your GIS once more."
        ) from error


def _layer(path: Path) -> tuple[list[Polygon], str | None]:
    """The only layer of a GeoPackage, shapefile, ..."""
    try:
        import pyogrio
        import shapely
    except ImportError as error:
        raise InputError(
            f"{path} is no GeoJSON file of polygons; export one from your GIS, or have other kinds read: "
            'pip install "napari-iseg[geo]".'
        ) from error
    try:
        layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
        if not layers:  # only tables, whose rows have no shape
            return [], None
        if len(layers) > 1:
            raise InputError(
                f"{path} holds several layers ({', '.join(layers)[:60]}); export the one of the polygons."
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what GDAL finds odd; the shapes are looked at below
            meta, _, geometries, _ = pyogrio.raw.read(path, layers[0], columns=[], force_2d=True)
        found = [shape.__geo_interface__ for shape in shapely.from_wkb(geometries) if shape is not None]
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, shapely.GEOSException) as error:
        raise InputError(
            f"{path} is no GeoJSON file of polygons, nor one of another kind; export one from your GIS."
        ) from error
    return [_polygon(rings) for shape in found for rings in _polygons(shape) if rings], meta["crs"]


def _polygon(rings: Any) -> Polygon:
    """A Polygon geometry of numbers; heights are left out."""
    corners = [[(float(corner[0]), float(corner[1])) for corner in ring] for ring in rings]
    return {"type": "Polygon", "coordinates": corners}


def _polygons(content: Any) -> Iterable[Any]:
    """The coordinates of the polygons of GeoJSON content."""
    kind = content["type"]
    if kind == "FeatureCollection":
        for feature in content["features"]:
            yield from _polygons(feature)
    elif kind == "Feature":
        if content["geometry"] is not None:
            yield from _polygons(content["geometry"])
    elif kind == "GeometryCollection":
        for part in content["geometries"]:
            yield from _polygons(part)
    elif kind == "MultiPolygon":
        yield from content["coordinates"]
    elif kind == "Polygon":
        yield content["coordinates"]
