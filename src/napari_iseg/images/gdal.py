"""JPEG 2000 (Sentinel-2) and VRT rasters, read by windows through rasterio, and where rasters lie."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import DamageError, InputError
from napari_iseg.images.damage import reading
from napari_iseg.images.files import GDAL_SUFFIXES, TIFF_SUFFIXES, Opened
from napari_iseg.images.lazy import LazyArray, LookedUp, full_index
from napari_iseg.images.nodata import stated_nodata, without_nodata
from napari_iseg.images.place import Place, is_place, place_of


def open_gdal(path: Path, *, numbers: bool = False) -> Opened:
    """A raster with the overviews that it has, one band or (rows, cols, bands); nothing is read yet.

    Parameters
    ----------
    numbers : leave the indices of a palette as they are

    Raises
    ------
    InputError
        When rasterio is missing, or the file is damaged or no raster.
    """
    with reading(path, "a raster"), _dataset(path) as source:
        count, overviews = source.count, len(source.overviews(1))
        dtype = np.result_type(*source.dtypes)
        nodata = stated_nodata(source.nodata, dtype)
        table = _palette(source) if count == 1 and not numbers else None
        levels: list[Any] = [_Level(path, source, dtype, None)]
        for number in range(overviews):
            with _dataset(path, overview_level=number) as overview:
                levels.append(_Level(path, overview, dtype, number))
    if table is not None:
        levels, nodata = [LookedUp(level, table) for level in levels], None
    rgb = table is not None or count in (3, 4)
    image = levels if len(levels) > 1 else levels[0]
    return Opened(
        path,
        without_nodata(image, nodata),
        ("y", "x"),
        rgb=rgb,
        channel_axis=2 if count > 1 and not rgb else None,
        nodata=nodata,
    )


def names(path: Path, role: str) -> list[str]:
    """What a raster says of each band: its "description", or the "colorinterp" that it stands for."""
    with reading(path, "a raster"), _dataset(path) as source:
        if role == "description":
            return [text or "" for text in source.descriptions]
        return [colour.name for colour in source.colorinterp]


def place(path: Path) -> Place | None:
    """Where a raster lies on the map; None without a map."""
    with reading(path, "a raster"), _dataset(path) as source:
        to_map, crs = source.transform, source.crs
        linear = crs.linear_units.lower() if crs is not None and crs.is_projected else ""
    unit = next((unit for unit in ("metre", "foot") if unit in linear), None)
    return place_of(tuple(to_map)[:6], unit) if on_map(to_map) else None


def has_place(path: Path) -> bool:
    """Whether a file says where it lies, as GDAL finds it, beside it too; never without rasterio.

    A CRS or ground control points will do, whether a transform is there or not.
    """
    suffix = path.suffix.lower()
    known = suffix in GDAL_SUFFIXES or suffix in TIFF_SUFFIXES
    if not known or not path.is_file() or find_spec("rasterio") is None:
        return False
    try:
        with reading(path, "a raster"), _dataset(path) as source:
            return source.crs is not None or on_map(source.transform) or bool(source.gcps[0])
    except InputError:
        if suffix in TIFF_SUFFIXES:  # it may be one that only tifffile reads
            return False
        raise


def on_map(transform: Any) -> bool:
    """Whether a raster's transform places it: the identity stands for none, damaged tags give no numbers."""
    return not transform.is_identity and is_place(tuple(transform)[:6])


class _Level(LazyArray):
    """The pixels of a raster, or of one of its overviews.

    Parameters
    ----------
    source : what rasterio says of them; another is opened when the first pixels are read
    overview : which one, from 0 on; None: the raster itself
    """

    def __init__(self, path: Path, source: Any, dtype: np.dtype[Any], overview: int | None) -> None:
        bands = () if source.count == 1 else (source.count,)
        super().__init__(
            (*source.shape, *bands), dtype, (*source.block_shapes[0], *bands), SimpleNamespace(root=path)
        )
        self._path = path
        self._options = {} if overview is None else {"overview_level": overview}
        self._source: Any = None
        self._lock = Lock()  # GDAL reads a dataset by one thread at a time

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        full = full_index(index, self.ndim)
        chosen = [np.arange(size)[span] for size, span in zip(self.shape, full, strict=True)]
        spans = [(int(one.min()), int(one.max()) + 1) if one.size else (0, 1) for one in chosen]
        values = self._read(*spans)
        for axis in reversed(range(self.ndim)):
            wanted = chosen[axis] - spans[axis][0]
            if not np.array_equal(wanted, np.arange(values.shape[axis])):
                values = np.take(values, wanted, axis)
        return values

    def _read(
        self, rows: tuple[int, int], cols: tuple[int, int], bands: tuple[int, int] | None = None
    ) -> npt.NDArray[Any]:
        """(rows, cols) values, or (rows, cols, bands)."""
        import rasterio

        numbers = [1] if bands is None else [band + 1 for band in range(*bands)]
        # rasterio hears of no error in the threads that decode the tiles of a JPEG 2000 file
        with self._lock, rasterio.Env(GDAL_NUM_THREADS=1), _reasons(self._path):
            if self._source is None:
                self._source = _open(self._path, **self._options)
            read = partial(self._source.read, window=(rows, cols), out_dtype=self.dtype)
            alike = len(set(self._source.dtypes)) == 1  # at once it reads no others
            values = read(numbers) if alike else np.stack([read(number) for number in numbers])
        return np.asarray(values[0] if bands is None else np.moveaxis(values, 0, -1))


@contextmanager
def _reasons(path: Path) -> Iterator[None]:
    """A block that reads pixels, whose errors say why: of those that rasterio raises, the cause does.

    Raises
    ------
    DamageError
        When a file that the raster is made of is missing.
    """
    try:
        yield
    except OSError as error:
        reason = str(error.__cause__ or error)
        if "No such file" not in reason:
            raise OSError(reason) from error
        raise DamageError(
            f"{path} could not be read ({reason}); it is made of that file, which is missing: put it back, "
            f"or correct its place in {path.name}."
        ) from error


@contextmanager
def _dataset(path: Path, **options: Any) -> Iterator[Any]:
    """The raster as rasterio opens it, for the block."""
    with _open(path, **options) as source:
        yield source


def _open(path: Path, **options: Any) -> Any:
    fix = f"convert it once: `gdal_translate -of COG {path.name} {path.stem}.tif`"
    try:
        import rasterio
    except ImportError as error:
        raise InputError(
            f'{path.name} is read by rasterio; run `pip install "napari-iseg[geo]"`, or {fix}.'
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        try:
            return rasterio.open(path, **options)
        except rasterio.errors.RasterioIOError as error:
            if "not recognized" not in str(error):
                raise
            raise InputError(
                f"{path.name} is no raster, or of a kind that the installed rasterio does not read; {fix}."
            ) from error


def _palette(source: Any) -> npt.NDArray[np.uint8] | None:
    """(entries, 3) colours of a raster of indices, for each value of its type; None for any other."""
    if source.colorinterp[0].name != "palette" or source.dtypes[0] not in ("uint8", "uint16"):
        return None
    table = np.zeros((int(np.iinfo(source.dtypes[0]).max) + 1, 3), np.uint8)
    for entry, colour in source.colormap(1).items():
        table[entry] = colour[:3]
    return table
