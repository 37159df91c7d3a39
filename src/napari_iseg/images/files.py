"""Opening an image file, lazily where the format allows it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import DamageError, InputError
from napari_iseg.images.damage import reading

ZIPPED_SUFFIXES = (".ozx", ".zarr.zip")  # an OME-Zarr in one file
TIFF_SUFFIXES = (".tif", ".tiff")
GDAL_SUFFIXES = (".jp2", ".j2k", ".j2c", ".jpx", ".jpf", ".vrt")
_ADDRESS = re.compile(r"([a-z][a-z0-9+]+):[/\\]+", re.IGNORECASE)  # one letter is a drive


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """An image as a file states it.

    Attributes
    ----------
    path : the file or folder
    image : array-like, or the levels of a pyramid, finest first
    axes : names of the axes of ``image`` without the channel axis: (..., "y", "x")
    scale, units : one entry per name in ``axes``; None when the file says nothing
    rgb : whether the last axis of ``image`` is colour
    channel_axis : axis of ``image`` with channels that are no colour picture
    nodata : the value of pixels without data, as GDAL states it; they are masked in ``image``, but for bytes
    """

    path: Path
    image: Any
    axes: tuple[str, ...]
    scale: tuple[float, ...] | None = None
    units: tuple[str | None, ...] | None = None
    translate: tuple[float, ...] | None = None
    rgb: bool = False
    channel_axis: int | None = None
    nodata: Any = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the labels of this image: (planes..., rows, cols) at full resolution."""
        array = self.image[0] if isinstance(self.image, list) else self.image
        channel = array.ndim - 1 if self.rgb else self.channel_axis
        return tuple(int(size) for axis, size in enumerate(array.shape) if axis != channel)


def open_image(path: Path, *, numbers: bool = False) -> Opened:
    """Open a TIFF (OME, ImageJ, GeoTIFF, tiled), zarr, OME-Zarr, JPEG 2000, VRT, PNG, JPEG or other picture.

    A zarr may be a folder or a zip (.zarr.zip, .ozx), which is read as it is.

    Parameters
    ----------
    numbers : the pixels are labels: a palette's indices and values of a few bits stay as they are, and are
        not made the colours and greys that they stand for

    Raises
    ------
    InputError
        When there is no such file, or it holds no image that can be read.
    """
    if not path.exists():
        raise _no_file(path)
    if path.is_dir() or path.name.lower().endswith(ZIPPED_SUFFIXES):
        with reading(path, "a zarr image"):
            return _zarr(path)
    if not path.stat().st_size:
        raise DamageError(f"{path} is empty, as after a copy that failed; replace it by an undamaged copy.")
    if path.suffix.lower() in TIFF_SUFFIXES:
        from napari_iseg.images.tiff import open_tiff

        return open_tiff(path, numbers=numbers)
    if path.suffix.lower() in GDAL_SUFFIXES:
        from napari_iseg.images.gdal import open_gdal

        return open_gdal(path, numbers=numbers)
    return _picture(path, numbers=numbers)


def _no_file(path: Path) -> InputError:
    """The refusal; of an address, of whose slashes a path keeps one, what reads it."""
    address = _ADDRESS.match(str(path))
    if address is None:
        return InputError(f"There is no file {path}; check the path.")
    rest = path.as_posix()[address.end() :]
    if address[1].lower() == "file":  # of this machine they are paths by now
        return InputError(f"{address[1]}://{rest} is a file of another machine; give its path on this one.")
    return InputError(
        f"{address[1]}://{rest} is an address and no file; open it in Python (`zarr.open`) and give "
        "the array to `napari_iseg.Session` or `napari_iseg.propagate`."
    )


def _picture(path: Path, *, numbers: bool) -> Opened:
    """A picture in one of the everyday formats; read at once."""
    from imageio import config

    try:
        with reading(path):
            known = _indices(path) if numbers else _printed(path)
            image = _decoded(path) if known is None else known
    except InputError as error:
        if path.suffix.lower() in config.known_extensions:
            raise
        raise _not_read(path) from error
    if image.ndim == 3 and image.shape[-1] == 2:  # grey with transparency
        image = image[..., 0]
    if image.ndim == 4 and len(image) == 1:  # a GIF of one frame is a picture, as all others are
        image = image[0]
    rgb = image.ndim >= 3 and image.shape[-1] in (3, 4)
    planes = image.ndim - (3 if rgb else 2)
    return Opened(path, image, (*(f"a{index}" for index in range(planes)), "y", "x"), rgb=rgb)


def _decoded(path: Path) -> npt.NDArray[Any]:
    """What imageio reads. It knows many kinds of file that it only names packages for, which are not ours."""
    import imageio.v3 as imageio

    try:
        return np.asarray(imageio.imread(path))
    except ImportError as error:
        if "imagecodecs" in str(error):
            raise
        raise _not_read(path) from error
    except OSError as error:
        if not str(error).startswith("Could not find a backend") or _is_ours(path.suffix.lower()):
            raise
        raise _not_read(path) from error


def _is_ours(suffix: str) -> bool:
    """Whether a whole file of this name can be read with what is always installed."""
    from imageio import config
    from PIL import Image

    readers = {reader for known in config.known_extensions.get(suffix, ()) for reader in known.priority}
    return Image.registered_extensions().get(suffix) in Image.OPEN or "tifffile" in readers


def _not_read(path: Path) -> InputError:
    return InputError(
        f"{path} is of a kind that is not read; save it as TIFF, OME-Zarr, PNG or JPEG and take that."
    )


def _indices(path: Path) -> npt.NDArray[Any] | None:
    """(rows, cols) what a picture with a palette holds; None for all others, and those of several frames."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            if picture.mode != "P" or getattr(picture, "n_frames", 1) > 1:
                return None
            return np.asarray(picture)
    except UnidentifiedImageError:  # imageio may know it
        return None


def _printed(path: Path) -> npt.NDArray[Any] | None:
    """(rows, cols, 3) a picture in the inks of printers (CMYK) in RGB; None for all others."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB")) if picture.mode == "CMYK" else None
    except UnidentifiedImageError:  # imageio may know it
        return None


def _zarr(path: Path) -> Opened:
    """A zarr array, or the levels of an OME-Zarr image (0.4 and 0.5)."""
    import zarr

    node = _zipped(path) if path.is_file() else _in_folder(path)
    if isinstance(node, zarr.Array):
        return _named(path, node, None)
    attributes: dict[str, Any] = dict(node.attrs)
    known: Any = attributes.get("ome", attributes)
    try:
        multiscale = known["multiscales"][0]
        levels = [node[dataset["path"]] for dataset in multiscale["datasets"]]
    except (KeyError, IndexError, TypeError) as error:
        inside = ", ".join(sorted(node.keys())[:4]) or "nothing"
        raise InputError(f"{path} is a zarr group without an image; it holds {inside}.") from error
    return _named(path, levels, multiscale)


def _zipped(path: Path) -> Any:
    """The zarr array or group in a zip."""
    import zarr

    try:
        return zarr.open(zarr.storage.ZipStore(path, mode="r"), mode="r")
    except FileNotFoundError as error:  # in the zip
        raise InputError(
            f"{path} holds no zarr image at its top; unpack it and take the folder inside."
        ) from error


def _in_folder(path: Path) -> Any:
    """The zarr array or group that a folder is."""
    import zarr
    from zarr.errors import BaseZarrError

    try:
        return zarr.open(path, mode="r")
    except (OSError, ValueError, KeyError, BaseZarrError) as error:
        reason = str(error).splitlines()[0]
        begun = any((path / name).exists() for name in ("zarr.json", ".zarray", ".zgroup"))
        why = f" ({reason})" if begun else ""  # of a folder of something else zarr has no word that helps
        raise InputError(
            f"{path} is a folder but no zarr image{why}; give a file in it, or the folder of a zarr image."
        ) from error


def _named(path: Path, image: Any, multiscale: Mapping[str, Any] | None) -> Opened:
    """Axes, scale and units from OME metadata; without it, the shape decides."""
    first = image[0] if isinstance(image, list) else image
    axes = _axes(multiscale) if multiscale is not None else None
    if axes is None or len(axes) != first.ndim:
        rgb = first.ndim >= 3 and first.shape[-1] in (3, 4)
        count = first.ndim - rgb
        return Opened(path, image, (*(f"a{index}" for index in range(count - 2)), "y", "x"), rgb=rgb)
    assert multiscale is not None
    channel = next((index for index, axis in enumerate(axes) if axis.get("type") == "channel"), None)
    keep = [index for index in range(len(axes)) if index != channel]
    with reading(path):
        scale, shift = _place(multiscale, len(axes))
    return Opened(
        path,
        image,
        tuple(str(axes[index]["name"]) for index in keep),
        tuple(float(scale[index]) for index in keep) if scale else None,
        tuple(axes[index].get("unit") for index in keep),
        tuple(float(shift[index]) for index in keep) if shift else None,
        channel_axis=channel,
    )


def _place(multiscale: Mapping[str, Any], ndim: int) -> tuple[list[float] | None, list[float] | None]:
    """Scale and translation of the finest level: its own, then those of the whole image; None: not stated.

    Steps of other kinds, and those without a number per axis (they may name a file), count as not stated.
    """
    scale: list[float] | None = None
    shift: list[float] | None = None
    for stated in (multiscale["datasets"][0], multiscale):
        for step in stated.get("coordinateTransformations") or ():
            kind = step.get("type")
            given = step.get(kind) if kind in ("scale", "translation") else None
            if not isinstance(given, list) or len(given) != ndim:
                continue
            values = [float(value) for value in given]
            if kind == "scale":
                scale = [a * b for a, b in zip(scale or [1.0] * ndim, values, strict=True)]
                shift = shift and [a * b for a, b in zip(shift, values, strict=True)]
            else:
                shift = [a + b for a, b in zip(shift or [0.0] * ndim, values, strict=True)]
    return scale, shift


def _axes(multiscale: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The axes of a multiscale image; old files give bare names."""
    axes = multiscale.get("axes")
    if not axes:
        return None
    return [
        {"name": axis, "type": "channel" if axis == "c" else "space"} if isinstance(axis, str) else dict(axis)
        for axis in axes
    ]
