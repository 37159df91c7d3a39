"""Polygons of interest in a plane: where a run works, or where its annotation is complete."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError
from napari_iseg.fewshot.area_files import read_polygons
from napari_iseg.prompts import Window

Array = npt.NDArray[np.float64]
Ring = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Areas:
    """Polygons in pixels of a plane, the same on every plane.

    Attributes
    ----------
    polygons
        Each an outer ring and its holes; a ring is at least three (row, col) corners, pixel centres at
        integers. A pixel belongs to an area if its centre lies inside.
    """

    polygons: tuple[tuple[Ring, ...], ...]

    @classmethod
    def of(cls, polygons: Iterable[Any]) -> Areas:
        """From polygons without holes, each (N, 2) corners (row, col).

        Raises
        ------
        InputError
            For a polygon with fewer than three corners, for none at all, or for what is no list of polygons.
        """
        if not isinstance(polygons, Iterable):
            raise InputError(f"Polygons are a list, each of (row, col) corners, got {polygons!r}.")
        return cls(tuple((_ring(corners),) for corners in polygons))._checked()

    @classmethod
    def read(cls, path: str | Path, like: str | Path | None = None) -> Areas:
        """The polygons of a GeoJSON file, or with the extra geo of a GeoPackage, shapefile or the like.

        Parameters
        ----------
        path
            GeoJSON is a Polygon, MultiPolygon, Feature or FeatureCollection. Its coordinates are longitude
            and latitude unless the file names another CRS, as QGIS does on export.
        like
            The image. When it is a GeoTIFF the polygons are brought to its CRS and pixels; otherwise, and
            without it, they are (x, y) in pixels, from the corner of the first pixel, and name no CRS.

        Raises
        ------
        InputError
            When the file cannot be read, holds no polygon or several layers, when its CRS cannot be brought
            to the image's, or when there is no such image.
        """
        from napari_iseg.labels.georeference import to_pixels

        for name, value in (("path", path), ("like", like)):
            if not isinstance(value, str | PathLike) and (name == "path" or value is not None):
                raise InputError(f"{name} is the name of a file, got {value!r}.")
        shapes, named = read_polygons(Path(path))
        found = to_pixels(shapes, named, Path(like) if like is not None else None)
        return cls(tuple(tuple(_ring(ring) for ring in rings) for rings in found))._checked()

    @property
    def digest(self) -> str:
        """Equal for equal polygons."""
        return blake2b(json.dumps(self.polygons).encode(), digest_size=8).hexdigest()

    # Kept, as a run asks for every tile, of a coast of thousands of corners too.
    @cached_property
    def _edges(self) -> list[Array]:
        """Per polygon (edges of all rings, 4): row and column of both ends."""
        return [np.concatenate([_edges_of(ring) for ring in rings]) for rings in self.polygons]

    @cached_property
    def _bounds(self) -> Array:
        """(polygons, 4): the whole rows and columns that hold one, top, left, bottom, right."""
        ends = [edges[:, :2] for edges in self._edges]
        return np.array([(*np.floor(end.min(0)), *np.ceil(end.max(0))) for end in ends])

    def _near(self, window: Window) -> npt.NDArray[np.bool_]:
        """Which polygons have their bounds in a window."""
        top, left, bottom, right = self._bounds.T
        rows = (top < window.bottom) & (bottom >= window.top)
        return np.asarray(rows & (left < window.right) & (right >= window.left))

    def mask(self, window: Window) -> npt.NDArray[np.bool_]:
        """Which pixels of a window lie inside, (rows, cols) bool."""
        inside = np.zeros(window.shape, bool)
        for index in np.flatnonzero(self._near(window)).tolist():
            part = self._part(index, window)
            rows = slice(part.top - window.top, part.bottom - window.top)
            cols = slice(part.left - window.left, part.right - window.left)
            inside[rows, cols] |= _even_odd(self._edges[index], part)
        return inside

    def _part(self, index: int, window: Window) -> Window:
        """The part of a window that holds all of a polygon that lies in it."""
        top, left, bottom, right = (int(edge) for edge in self._bounds[index])
        return Window(top, left, bottom + 1, right + 1).intersect(window)

    def touches(self, window: Window) -> bool:
        """Whether any pixel of a window lies inside."""
        return bool(self.mask(window).any())

    def beside(self, windows: Iterable[Window]) -> list[tuple[float, float]]:
        """The middles (row, col) of the polygons without a pixel in any of the windows."""
        left_out = np.ones(len(self.polygons), bool)
        for window in windows:
            for index in np.flatnonzero(left_out & self._near(window)).tolist():
                left_out[index] = not _even_odd(self._edges[index], self._part(index, window)).any()
        top, left, bottom, right = self._bounds[left_out].T
        return list(zip((top + bottom) / 2, (left + right) / 2, strict=True))

    def _checked(self) -> Areas:
        if not self.polygons:
            raise InputError("There is no polygon; draw at least one.")
        for rings in self.polygons:
            if any(len(ring) < 3 or not np.isfinite(ring).all() for ring in rings):
                raise InputError("A polygon needs at least three corners with finite coordinates.")
        return self


def meets(region: Window | Areas | None, window: Window) -> bool:
    """Whether a window has a pixel of a region; None is everywhere."""
    if region is None:
        return True
    if isinstance(region, Areas):
        return region.touches(window)
    common = region.intersect(window)
    return bool(common.height and common.width)


def _ring(corners: Any) -> Ring:
    try:
        return tuple((float(row), float(col)) for row, col in corners)
    except (TypeError, ValueError) as error:
        raise InputError("A polygon is a list of (row, col) corners.") from error


def _edges_of(ring: Ring) -> Array:
    corners = np.asarray(ring)
    return np.concatenate([corners, np.roll(corners, -1, axis=0)], 1)


def _even_odd(edges: Array, window: Window) -> npt.NDArray[np.bool_]:
    """Scan lines: a pixel is inside if an odd number of edges of all rings cross its row left of it."""
    ends = np.ceil(edges[:, ::2]).clip(window.top, window.bottom).astype(int)
    first, stop = ends.min(1), ends.max(1)
    edges, first, stop = (part[first < stop] for part in (edges, first, stop))
    counts = stop - first
    edge = np.repeat(np.arange(len(edges)), counts)
    rows = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    row0, col0, row1, col1 = edges[edge].T
    cols = col0 + (rows - row0) * (col1 - col0) / (row1 - row0)
    at = np.clip(np.ceil(cols) - window.left, 0, window.width).astype(int)
    crossed = np.zeros((window.height, window.width + 1), np.int32)
    np.add.at(crossed, (rows - window.top, at), 1)
    return np.asarray(np.cumsum(crossed[:, :-1], axis=1) % 2 == 1)
