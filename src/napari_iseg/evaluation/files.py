"""Files behind a data set: entries of a folder or zip, pictures of any format, slices of TIFF volumes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image, UnidentifiedImageError

from napari_iseg.errors import InputError
from napari_iseg.images.damage import reading

Array = npt.NDArray[Any]
Header = tuple[tuple[int, ...], np.dtype[Any]]  # shape and dtype
_FOLDERS = ("images", "labels", "classes")
_NO_PICTURES = ("thumbs.db", "ehthumbs.db", "desktop.ini")  # what Windows puts beside pictures


class Files(Protocol):
    """Where a data set's pictures lie."""

    def place(self, entry: str) -> str:
        """The whole path of an entry, for people."""

    def stems(self, folder: str) -> dict[str, str]:
        """Name without suffix, below ``folder`` -> entry; InputError where two files have one such name."""

    def image(self, entry: str) -> Array:
        """A picture."""

    def labels(self, entry: str) -> Array:
        """A label picture: palette indices instead of colours."""

    def header(self, entry: str) -> Header:
        """The picture's shape and dtype, without decoding it where the format allows."""


class FolderFiles:
    """Pictures in sub-folders of ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def place(self, entry: str) -> str:
        """The path of the file."""
        return str(self.root / entry)

    def stems(self, folder: str) -> dict[str, str]:
        """Name below ``folder`` without suffix -> path relative to the root."""
        files = (p.relative_to(self.root) for p in (self.root / folder).rglob("*") if p.is_file())
        return _by_stem((PurePosixPath(p.as_posix()) for p in files), folder, self)

    def image(self, entry: str) -> Array:
        """The picture at ``entry``."""
        return decode((self.root / entry).read_bytes(), self.place(entry))

    def labels(self, entry: str) -> Array:
        """The label picture at ``entry``."""
        return decode((self.root / entry).read_bytes(), self.place(entry), indices=True)

    def header(self, entry: str) -> Header:
        """Shape and dtype of the picture at ``entry``."""
        return picture_header((self.root / entry).read_bytes(), self.place(entry))


class ZipFiles:
    """Pictures in a zip; every read opens its own handle, so that threads and forks may read at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def place(self, entry: str) -> str:
        """The path of the zip, and that within it."""
        return f"{self.path}/{entry}"

    @cached_property
    def _names(self) -> tuple[str, ...]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                return tuple(archive.namelist())
        except zipfile.BadZipFile:
            raise InputError(f"{self.path} is not a readable zip; download or pack it again.") from None

    def stems(self, folder: str) -> dict[str, str]:
        """Name below ``folder`` without suffix -> archive name; ``folder`` may lie in others."""
        entries = (PurePosixPath(name) for name in self._names if not name.endswith("/"))
        return _by_stem(entries, folder, self)

    def image(self, entry: str) -> Array:
        """The picture at ``entry``."""
        return decode(self._bytes(entry), self.place(entry))

    def labels(self, entry: str) -> Array:
        """The label picture at ``entry``."""
        return decode(self._bytes(entry), self.place(entry), indices=True)

    def header(self, entry: str) -> Header:
        """Shape and dtype of the picture at ``entry``."""
        return picture_header(self._bytes(entry), self.place(entry))

    def _bytes(self, entry: str) -> bytes:
        with reading(self.place(entry), "part of a zip"), zipfile.ZipFile(self.path) as archive:
            return archive.read(entry)


def _by_stem(entries: Iterable[PurePosixPath], folder: str, files: Files) -> dict[str, str]:
    """Pictures below ``folder`` by their names there, "s/0" for images/s/0.png.

    The innermost folder of a known name counts, as somebody may pack a whole set in a folder "images".
    """
    found: dict[str, str] = {}
    for entry in sorted(set(entries)):
        above = entry.parts[:-1]
        depth = max((i for i, part in enumerate(above) if part in _FOLDERS), default=None)
        if depth is None or above[depth] != folder or entry.name.lower() in _NO_PICTURES:
            continue
        below = PurePosixPath(*entry.parts[depth + 1 :])
        if any(part.startswith(".") for part in below.parts):  # .DS_Store, ._a.png, .ipynb_checkpoints/a.png
            continue
        stem = str(below.with_suffix(""))
        if stem in found:
            both = f"{files.place(found[stem])} and {files.place(str(entry))}"
            raise InputError(f"{both} have one name; rename one (with its partner), or remove it.")
        found[stem] = str(entry)
    return found


def decode(data: bytes, name: str, *, indices: bool = False) -> Array:
    """A picture's bytes as an array; ``name`` tells the format and appears in errors.

    A palette gives its colours, or its ``indices`` where the picture holds labels.
    """
    with reading(name):
        if name.lower().endswith((".tif", ".tiff")):
            return _tiff_pixels(io.BytesIO(data))
        with _picture(data) as picture:
            modes = {"1": "L", "P": "P" if indices else "RGB", "CMYK": "RGB", "LA": "L", "RGBA": "RGB"}
            array = np.asarray(picture.convert(modes.get(picture.mode, picture.mode)))
            if picture.mode == "1":
                array = array // 255
    return array.astype(np.uint16) if array.dtype == np.int32 else array


def _tiff_pixels(file: Any) -> Array:
    """The first series; tifffile reads a file whose directory is damaged as one without pixels."""
    pixels = np.asarray(tifffile.imread(file))
    if not pixels.size:
        raise ValueError("it holds no pixels")
    return pixels


def _picture(data: bytes) -> Image.Image:
    """A picture opened from its bytes; Pillow's own refusal would tell the address of the bytes."""
    try:
        return Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        raise ValueError("its format is not recognised") from None


def picture_header(data: bytes, name: str) -> Header:
    """Shape and dtype that `decode` would give, from the header alone; of a PNG without its colours."""
    if name.lower().endswith((".tif", ".tiff")):
        return tiff_header(io.BytesIO(data), name)
    with reading(name), _picture(data) as picture:
        dtype = np.dtype(np.uint16 if picture.mode.startswith("I") else np.uint8)
        return (picture.height, picture.width), dtype


def tiff_shape(path: Path) -> Header:
    """Shape and dtype of a TIFF's first series, without its pixels."""
    with path.open("rb") as handle:
        return tiff_header(handle, str(path))


def tiff_header(handle: Any, name: str) -> Header:
    """Shape and dtype of the first series of an open TIFF."""
    with reading(name, "a TIFF image"), tifffile.TiffFile(handle) as tiff:
        series = tiff.series[0]
        return tuple(series.shape), np.dtype(series.dtype)


def read_tiff(path: Path) -> Array:
    """The first series of a TIFF file."""
    with reading(path, "a TIFF image"):
        return _tiff_pixels(path)


class TiffVolume:
    """Slices of one TIFF volume along any axis."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def plane(self, axis: int, index: int) -> Array:
        """One slice; along the first axis only that page is decoded, else all is read once and kept."""
        if axis == 0:
            with reading(self.path, "a TIFF image"), tifffile.TiffFile(self.path) as tiff:
                if len(tiff.pages) == tiff.series[0].shape[0]:
                    return np.asarray(tiff.pages[index].asarray())
        return np.asarray(self._whole.take(index, axis))

    @cached_property
    def values(self) -> Array:
        """All values that occur, page by page, so that the volume is not held as a whole."""
        pages = range(tiff_shape(self.path)[0][0])
        return np.unique(np.concatenate([np.unique(self.plane(0, index)) for index in pages]))

    @cached_property
    def _whole(self) -> Array:
        return read_tiff(self.path)
