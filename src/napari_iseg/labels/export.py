"""Labels as files for other programs: TIFF for Fiji, GeoTIFF for QGIS, OME-Zarr, PNG.

Everything is written plane by plane or tile by tile under a temporary name and then renamed, so that a full
disk or a crash leaves what was there before.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_iseg.errors import InputError, SaveError
from napari_iseg.files import check_place, give_name, real_place, remove, replacing_folder, temporary_beside
from napari_iseg.labels.arrange import arranged, image_order, in_order
from napari_iseg.labels.export_polygons import check_lon_lat, write_polygons
from napari_iseg.labels.export_tiff import tiff_order, write_geotiff, write_tiff
from napari_iseg.labels.full_disk import with_reason
from napari_iseg.labels.georeference import GeoReference, geo_reference
from napari_iseg.labels.layout import clear_away, open_pyramid
from napari_iseg.labels.store import LabelStore

_Write = Callable[[LabelStore, Path], None]
_LONGEST_NAME = 200  # bytes of 255 that file systems take: the temporary name is longer
_LARGEST_PNG = 2**26  # pixels; a picture format has no tiles


def export_labels(
    labels: LabelStore,
    path: str | Path,
    *,
    like: str | Path | None = None,
    crs: Any = None,
    transform: Any = None,
    pieces: bool = False,
    new: bool = False,
) -> Path:
    """Write all labels to a file, with the axes of the image; the suffix says which kind.

    * ``.tif``, ``.tiff``: ImageJ TIFF (uint16, scale and unit for Fiji) where it fits, else tiled OME-TIFF; a
      tiled GeoTIFF when there is a CRS or transform
    * ``.ome.tif``, ``.ome.tiff``: OME-TIFF, tiled and compressed, with physical sizes
    * ``.zarr``: OME-Zarr 0.5 pyramid with scale, translation, axes and units
    * ``.gpkg``: GeoPackage of outlines with their label and area in square metres, for labels on a map
    * ``.geojson``: the same as GeoJSON, whose coordinates are longitude and latitude (WGS 84, RFC 7946)
    * ``.png``: 16-bit grey picture, 2-D only, at most 65535 objects

    Parameters
    ----------
    labels
        All that is in them is written.
    path
        An existing file or label group of that name is replaced, once the new one is complete; of a link what
        it names.
    like
        The image: when it is a GeoTIFF, or a JPEG 2000 or VRT on a map, its CRS and transform are taken; it
        has the rows and columns of the labels. Any other image has no place to take.
    crs
        Anything rasterio takes, e.g. "EPSG:25832"; overrides that of ``like``.
    transform
        Anything rasterio takes, e.g. an ``affine.Affine``; overrides that of ``like``.
    pieces
        In a GeoPackage or GeoJSON, every connected piece of a label is a polygon of its own, as classes need
        it.
    new
        Nothing may be replaced, also nothing that another program makes meanwhile.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    InputError
        For an unknown suffix, labels that the format cannot hold, or a name that belongs to something else
        (with ``new`` to anything), or ``like`` that is not there.
    SaveError
        When the file cannot be written; what was there before is untouched.
    """
    target = Path(path)
    _exporter(labels, target, like, crs, transform, pieces, new)()
    return target


def check_export(labels: LabelStore, path: str | Path, *, like: str | Path | None = None) -> None:
    """Refuse now what ``export_labels`` would refuse after the work: kind, name, axes, a missing package."""
    _exporter(labels, Path(path), like, None, None, False, False)


def _exporter(
    labels: LabelStore,
    target: Path,
    like: str | Path | None,
    crs: Any,
    transform: Any,
    pieces: bool,
    new: bool,
) -> Callable[[], None]:
    """What writes the labels, once all that can be known beforehand is in order."""
    if not isinstance(labels, LabelStore):
        raise InputError(
            f"Labels are saved from a LabelStore, got a {type(labels).__name__}; write them into one "
            "(LabelStore.write) and save that."
        )
    name = target.name.lower()
    kind = next((suffix for suffix in _ENDINGS if name.endswith(suffix)), None)
    if kind is None:
        raise InputError(
            f"Labels cannot be saved as {target.name!r}; valid endings are {', '.join(_ENDINGS)}."
        )
    written = real_place(target).name
    if len(os.fsencode(written)) > _LONGEST_NAME:
        raise InputError(f"The name {written[:40]}… is too long; use at most {_LONGEST_NAME} bytes.")
    check_place(target)
    if new and target.exists():
        raise InputError(
            f"{target} exists already and was left as it is; overwrite it or choose another name."
        )
    if like is not None and target.exists() and Path(like).exists() and target.samefile(like):
        raise InputError(f"{target} is the image itself; choose another name for the labels.")
    placeable = kind in (".tif", ".tiff", *_POLYGONS)
    if not placeable and (crs is not None or transform is not None):
        raise InputError(
            "Only GeoTIFF and GeoPackage (or GeoJSON) hold map coordinates; save "
            f"{target.name!r} as .tif, .gpkg or .geojson."
        )
    geo = geo_reference(Path(like) if like is not None else None, crs, transform) if placeable else None
    if kind == ".zarr":
        _check_group(labels, target)
        return lambda: _replace_group(labels, target, new)
    if kind == ".png":
        _check_png(labels)
    on_map = kind in _POLYGONS or geo is not None
    write = _map_writer(labels, target, geo, pieces) if on_map else _WRITERS[kind]
    order = image_order(labels) if on_map or kind == ".png" else tiff_order(labels)
    return lambda: _replace(target, labels, order, write, new)


def _map_writer(labels: LabelStore, target: Path, geo: GeoReference | None, pieces: bool) -> _Write:
    """What writes a GeoTIFF, GeoPackage or GeoJSON, once it is sure that it can."""
    kind = target.suffix.lower()
    if len(labels.shape) > 2:
        raise InputError("A map of labels holds one plane; save the stack as .zarr or leave the CRS out.")
    if geo is None or (kind in _POLYGONS and geo.transform is None):
        raise InputError(
            f"A {_POLYGONS[kind]} needs map coordinates and the image has none; save as .tif or .zarr "
            "instead."
        )
    shape = tuple(labels.shape[axis] for axis in image_order(labels))
    if geo.shape is not None and geo.shape != shape:
        raise InputError(
            f"The labels have {shape[0]} x {shape[1]} pixels but the image whose place on the map they would "
            f"take has {geo.shape[0]} x {geo.shape[1]}; give the place of these pixels (transform=...)."
        )
    if kind == ".geojson":
        check_lon_lat(geo, shape)
    if kind in _POLYGONS:
        geojson = kind == ".geojson"
        return lambda ordered, path: write_polygons(
            ordered, path, geo, target.stem, pieces=pieces, geojson=geojson
        )
    return lambda ordered, path: write_geotiff(ordered, path, geo)


def _replace(target: Path, labels: LabelStore, order: Sequence[int], write: _Write, new: bool) -> None:
    """Let ``write`` make a temporary file of the labels beside ``target``, then put it in place."""
    temporary = temporary_beside(target)
    try:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        with in_order(labels, order, temporary) as ordered:
            write(ordered, temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        give_name(temporary, target, new=new)
    except OSError as error:
        raise _not_written(target, error, temporary) from error
    finally:
        remove(temporary)


def _check_group(labels: LabelStore, target: Path) -> None:
    """Refuse a name that belongs to something else than labels, or to these very ones."""
    if target.exists():
        if labels.path is not None and target.samefile(labels.path):
            raise InputError(f"{target} is where these labels live; choose another name for the copy.")
        try:
            open_pyramid(target)
        except InputError as error:
            raise InputError(f"{target} exists and holds no labels; choose another name.") from error


def _replace_group(labels: LabelStore, target: Path, new: bool) -> None:
    """Write a label group under a temporary name, then put it in place of an earlier one."""
    # An axis that runs backwards keeps its pixels and its negative scale, as in a session's own store:
    # turned round, they would not lie on the pixels of the image any more.
    order = image_order(labels)
    with replacing_folder(target, new=new) as fresh:
        fresh.rmdir()  # its name is all that is wanted
        try:
            arranged(labels, order, path=fresh, name=_stem(target), traced=False).flush()
        except OSError as error:
            clear_away(fresh)
            raise _not_written(target, error, fresh) from error


def _not_written(target: Path, error: OSError, temporary: Path) -> SaveError:
    """The refusal; of a label store's own, which names its temporary place, only the reason is kept."""
    cause = error.__cause__ if isinstance(error, SaveError) else error
    cause = with_reason(cause, temporary) if isinstance(cause, OSError) else cause
    reason = getattr(cause, "strerror", None) or str(cause or error).replace(str(temporary), str(target))
    return SaveError(f"{target} could not be written ({reason}); free some space or choose another folder.")


def _stem(path: Path) -> str:
    return path.name.removesuffix(".zarr").removesuffix(".ome")


def _check_png(labels: LabelStore) -> None:
    rows, cols = labels.shape[-2:]
    if len(labels.shape) > 2 or rows * cols > _LARGEST_PNG or labels.next_label() - 1 > 65535:
        raise InputError(
            f"A PNG holds one plane of at most {_LARGEST_PNG} pixels and 65535 objects; save these labels "
            "as .tif or .zarr."
        )


def _write_png(labels: LabelStore, path: Path) -> None:
    from PIL import Image

    Image.fromarray(labels.read().astype(np.uint16)).save(path, format="PNG")


_WRITERS: Mapping[str, _Write] = {
    ".ome.tif": lambda labels, path: write_tiff(labels, path, ome=True),
    ".ome.tiff": lambda labels, path: write_tiff(labels, path, ome=True),
    ".tif": lambda labels, path: write_tiff(labels, path, ome=False),
    ".tiff": lambda labels, path: write_tiff(labels, path, ome=False),
    ".png": _write_png,
}
_POLYGONS = {".gpkg": "GeoPackage", ".geojson": "GeoJSON"}
_ENDINGS = (*_WRITERS, ".zarr", *_POLYGONS)
