"""The weights inside a 7z archive that may come in parts (.7z.001, .7z.002, ...)."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import IO, cast

import py7zr
from py7zr.compressor import SupportedMethods
from py7zr.exceptions import ArchiveError, PasswordRequired
from py7zr.io import Py7zIO, WriterFactory

from napari_iseg.errors import FetchError, IsegError
from napari_iseg.files import replacing
from napari_iseg.weights.store import SUFFIXES

MAX_BYTES = 16 * 2**30
# Of the others, PPMd's decoder ends Python on damaged data. 7zAES is known, to be called encrypted.
_METHODS = frozenset({"COPY", "LZMA", "LZMA2", "DELTA", "BCJ", "DEFLATE", "BZip2", "7zAES"})


def unpack_weights(parts: Sequence[Path], target: Path, member: str = "") -> None:
    """Write the one weights file of an archive to ``target``.

    Parameters
    ----------
    parts : the volumes, in order
    member : name of the file wanted, without folders; "" for the only .pth, .pt or .safetensors in it

    Raises
    ------
    FetchError
        Damaged, encrypted, packed by a method that is seldom used, no such file in it, a path that leads out
        of it, or larger than any model.
    SaveError
        ``target`` cannot be written.
    """
    try:
        with _Joined(parts) as joined, py7zr.SevenZipFile(cast("IO[bytes]", joined), "r") as archive:
            _check_methods(archive, parts[0].name)
            name = _choose(archive.list(), member)
            with replacing(target) as stream:
                _extract(archive, name, stream)
    except PasswordRequired:
        raise FetchError(
            f"The archive {parts[0].name} is encrypted; unpack it with its password by hand and run "
            "`napari-iseg models import FILE` on the weights in it."
        ) from None
    except (IsegError, MemoryError):  # too little memory is no damage
        raise
    except Exception as error:  # each decoder has its own ways to stumble
        if isinstance(error, OSError) and error.errno is not None:  # the disk's
            raise FetchError(
                f"The archive {parts[0].name} cannot be read ({error.strerror}); look whether all of it "
                "is there and may be read."
            ) from None
        how = next((part for part in error.args if isinstance(part, str) and part), type(error).__name__)
        raise FetchError(f"The archive {parts[0].name} is damaged ({how}); fetch it again.") from None


def _check_methods(archive: py7zr.SevenZipFile, name: str) -> None:
    """Refuse an archive, before anything of it is unpacked, that needs any but the usual decoders."""
    streams = archive.header.main_streams  # None where it is empty
    folders = streams.unpackinfo.folders if streams else ()
    known = {method["id"]: method["name"] for method in SupportedMethods.methods}
    used = {known.get(id_, id_.hex()) for id_ in (coder["method"] for f in folders for coder in f.coders)}
    if not used <= _METHODS:
        raise FetchError(
            f"The archive {name} is packed by a method that is not unpacked here "
            f"({', '.join(sorted(used - _METHODS))}); download and unpack it by hand and run "
            "`napari-iseg models import FILE` on the weights in it."
        )


def _extract(archive: py7zr.SevenZipFile, name: str, stream: IO[bytes]) -> None:
    """Unpack one entry into a stream; an OSError is the stream's, never a decoder's."""
    try:
        archive.extract(targets=[name], factory=_Into(stream))
    except OSError as error:
        if isinstance(error, IsegError) or error.errno is not None:
            raise
        raise ArchiveError(str(error)) from None  # of bzip2: invalid data


def _choose(entries: list[py7zr.FileInfo], member: str) -> str:
    """The name of the wanted entry, refusing links and names that point elsewhere."""
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
            raise FetchError(
                f"The archive holds the unsafe path {entry.filename[:80]!r}; nothing was unpacked."
            )
    files = [entry.filename for entry in entries if entry.is_file and entry.uncompressed <= MAX_BYTES]
    named = [name for name in files if PurePosixPath(name).name == member]
    found = named or [name for name in files if name.endswith(SUFFIXES)]
    if len(found) != 1:
        held = ", ".join(name[:40] for name in files[:5]) or "nothing"
        raise FetchError(f"The archive should hold one weights file {member!r}, but it holds {held}.")
    return found[0]


class _Joined(io.RawIOBase):
    """The parts of a file, one after the other, as one that can be read and sought."""

    def __init__(self, parts: Sequence[Path]) -> None:
        self._streams = [part.open("rb") for part in parts]
        self._ends = list(accumulate(part.stat().st_size for part in parts))
        self._place = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to ``offset``, counted over all parts."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._ends[-1]}[whence]
        self._place = max(0, start + offset)
        return self._place

    def tell(self) -> int:
        """Position over all parts."""
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        """``size`` bytes (all that are left for -1), across the borders of parts."""
        left = self._ends[-1] - self._place
        wanted = left if size is None or size < 0 else min(size, left)
        blocks = []
        while wanted > 0:
            index = bisect_right(self._ends, self._place)
            begin = self._ends[index - 1] if index else 0
            self._streams[index].seek(self._place - begin)
            block = self._streams[index].read(min(wanted, self._ends[index] - self._place))
            if not block:
                raise EOFError("a part became shorter")
            blocks.append(block)
            self._place += len(block)
            wanted -= len(block)
        return b"".join(blocks)

    def close(self) -> None:
        """Close every part."""
        for stream in self._streams:
            stream.close()
        super().close()


class _Into(WriterFactory):  # type: ignore[misc]
    """Sends what is unpacked to a stream of ours, whatever name it has in the archive."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def create(self, filename: str) -> Py7zIO:  # noqa: ARG002 - py7zr's interface
        """The writer for the one wanted file."""
        return _Writer(self._stream)


class _Writer(Py7zIO):  # type: ignore[misc]
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._size = stream, 0

    def write(self, s: bytes | bytearray) -> int:
        self._size += len(s)
        if self._size > MAX_BYTES:
            raise FetchError("The archive unpacks to more than any model; nothing was kept.")
        return self._stream.write(s)

    def read(self, size: int | None = None) -> bytes:  # noqa: ARG002 - never read back
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def flush(self) -> None:
        self._stream.flush()

    def size(self) -> int:
        return self._size
