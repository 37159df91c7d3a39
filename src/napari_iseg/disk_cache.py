"""Arrays that can be computed again, kept in a folder under a limit of bytes."""

from __future__ import annotations

import lzma
import os
import re
import struct
import time
import zipfile
import zlib
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_iseg.files import replacing

LIMIT = 2 * 2**30  # bytes
_ENDING = ".cached.npz"  # tells our files from others in a folder that a user chose
_STALE = 3600.0  # seconds after which a temporary file belongs to a process that was killed
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_NAMES = "_names"  # the array with the names of the others
# What zipfile, the decompressors that a flipped bit may choose, and numpy say of damaged files.
_DAMAGE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    SyntaxError,
    EOFError,
    RuntimeError,
    MemoryError,
    OverflowError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
)

Arrays = dict[str, npt.NDArray[Any]]


def read_npz(path: Path, names: Collection[str]) -> Arrays | None:
    """All arrays of a file; None where it is missing, damaged, or lacks one of ``names``."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except _DAMAGE:
        return None
    return found if found.keys() >= set(names) else None


@dataclass(frozen=True)
class DiskCache:
    """Named arrays by key, one file each; the least recently used files go first.

    Several threads and processes may share a folder: files appear whole, and reading one marks it as used.
    Every file carries checksums, so a damaged one is a miss. Other files in the folder are left alone.

    Parameters
    ----------
    folder : made when the first arrays are kept
    limit : bytes of all files together; 0 keeps nothing
    """

    folder: Path
    limit: int = LIMIT

    @property
    def nbytes(self) -> int:
        """Bytes of all files now."""
        return sum(size for _, size, _ in self._files())

    def get(self, key: str) -> Arrays | None:
        """The arrays kept under a key, of the dtypes they had; None when they are not there or damaged."""
        path = self._path(key)
        found = read_npz(path, (_NAMES,))
        if found is None or found.keys() != {_NAMES, *found[_NAMES].tolist()}:
            return None
        del found[_NAMES]
        with suppress(OSError):  # removed meanwhile, or a folder that may only be read
            os.utime(path)
        return found

    def put(self, key: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Keep arrays, and remove what was not used for longest until the limit holds.

        Parameters
        ----------
        key : letters, digits, ".", "_" and "-"
        arrays : of any shape and any dtype but object, stored as they are

        Raises
        ------
        SaveError
            When the folder cannot be written; nothing is left behind.
        """
        path = self._path(key)
        if sum(array.nbytes for array in arrays.values()) > self.limit:
            return
        # Its own option has a name, too.
        with replacing(path, synced=False, fix="make space or choose another folder") as stream:
            np.savez(stream, **arrays, **{_NAMES: np.array(list(arrays))})  # type: ignore[arg-type]
        self._shrink()

    def _shrink(self) -> None:
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        for used, size, path in files:
            abandoned = path.name.startswith(".") and used < time.time_ns() - _STALE * 1e9
            if total <= self.limit and not abandoned:
                continue
            if path.name.startswith(".") and not abandoned:  # being written
                continue
            with suppress(OSError):  # on Windows a file that is being read stays
                path.unlink(missing_ok=True)
                total -= size

    def _files(self) -> list[tuple[int, int, Path]]:
        """(when last used, in ns, bytes, path) of our files, temporary ones among them."""
        found = []
        with suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            for entry in entries:
                hidden = entry.name.startswith(".") and f"{_ENDING}." in entry.name
                if hidden or entry.name.endswith(_ENDING):
                    with suppress(FileNotFoundError):  # another process removed it
                        about = entry.stat()
                        found.append((about.st_mtime_ns, about.st_size, Path(entry.path)))
        return found

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"A key is letters, digits, '.', '_' and '-', at most 200, got {key!r}.")
        return self.folder / f"{key}{_ENDING}"
