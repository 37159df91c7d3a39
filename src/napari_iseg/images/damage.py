"""Damaged files: what the many decoders raise becomes one sentence that names the file."""

from __future__ import annotations

import errno
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

from PIL.Image import DecompressionBombError
from tifffile import TiffFileError

from napari_iseg.errors import DamageError, InputError, IsegError

T = TypeVar("T")

# Codecs (imagecodecs, numcodecs) raise RuntimeError; tifffile and zarr ValueError, or what a lookup raises.
_DAMAGE = (
    OSError,
    ValueError,
    RuntimeError,
    LookupError,
    SyntaxError,
    EOFError,
    zlib.error,
    zipfile.BadZipFile,
    DecompressionBombError,
    struct.error,
    TiffFileError,  # a ValueError from tifffile 2025.10.4 on
)
_MISSING_CODEC = "imagecodecs"
_OF_DECODERS = (None, errno.EINVAL)  # the latter from a damaged offset; any other number is the system's


@contextmanager
def reading(name: str | Path, what: str = "an image") -> Iterator[None]:
    """A block that decodes ``name``; its failures become an InputError with the file's name.

    A reader of files of many kinds is no decoder: that a package for a kind is missing, its caller says.

    Raises
    ------
    DamageError
        When the file is damaged, no ``what``, or lies where nothing answers.
    InputError
        When it is compressed in a way that needs the package imagecodecs.
    """
    try:
        yield
    except IsegError:
        raise
    except ImportError as error:  # tifffile looks elsewhere for some codecs before it gives up
        raise _no_codec(name, str(error)) from error
    except _DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if _MISSING_CODEC in reason:
            raise _no_codec(name, reason) from error
        if _is_of_system(error):
            raise DamageError(
                f"{name} could not be read ({error.strerror or reason}); see that its disk or network drive "
                "is there and may be read, and try again."
            ) from error
        raise DamageError(f"{name} could not be read as {what} ({reason}); {_mend(name)}.") from error


def _mend(name: str | Path) -> str:
    if str(name).endswith(".ovr"):  # GDAL's overviews beside a picture, which is whole without them
        return "delete it; `gdaladdo` makes it again"
    return "replace it by an undamaged copy"


def _no_codec(name: str | Path, reason: str) -> InputError:
    fix = f"run `pip install {_MISSING_CODEC}` and try again"
    return InputError(f"{name} is compressed ({reason}); {fix}.")


def unless_damaged(read: Callable[[], T]) -> T | None:
    """What ``read`` gives; None where it meets damage.

    Raises
    ------
    DamageError
        When the disk or network drive does not answer: what it holds may be well the next time.
    """
    try:
        return read()
    except DamageError as error:
        if _is_of_system(error.__cause__):
            raise
        return None


def _is_of_system(error: BaseException | None) -> TypeGuard[OSError]:
    return isinstance(error, OSError) and error.errno not in _OF_DECODERS


@contextmanager
def reading_tags(path: Path) -> Iterator[None]:
    """A block that reads the tags of a TIFF; InputError where they are damaged.

    Of one that holds something else (two numbers for one, a size of 0) tifffile makes errors that are no
    sign of damage elsewhere.
    """
    with reading(path, "a TIFF image"):
        try:
            yield
        except (TypeError, ArithmeticError) as error:
            raise ValueError(str(error)) from error


def name_of(array: Any) -> str:
    """The file or folder behind a lazily read array, as far as it is known."""
    store = getattr(array, "store", None)
    return str(
        getattr(store, "root", None) or getattr(store, "path", None) or "The image"
    )  # the latter: zips
