"""Writing so that a reader sees the old file or folder or the new one, never a half."""

from __future__ import annotations

import os
import platform
import re
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from uuid import uuid4

from napari_iseg.errors import IsegError, SaveError


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A stream into a temporary neighbour of ``path``, which takes its place when the block ends well.

    Raises
    ------
    SaveError
        It cannot be written (no space, no permission); ``path`` is untouched and the neighbour removed.
    """
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except IsegError:
        raise
    except OSError as error:
        raise _not_written(path, error) from None
    finally:
        remove(temporary)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A new folder beside ``path`` to be filled, which takes its place when the block ends well.

    Killed between the two renames that this takes, the earlier folder is put back by the next ``sweep``.

    Raises
    ------
    SaveError
        It cannot be written; ``path`` is untouched and the new folder removed.
    """
    fresh, old = temporary_beside(path), temporary_beside(path, "old")
    try:
        fresh.mkdir(parents=True)
        yield fresh
        if path.exists():
            path.rename(old)
        try:
            fresh.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
        remove(old)
    except SaveError as error:  # of a file inside, whose place has another name for the reader
        raise SaveError(str(error).replace(str(fresh), str(path))) from None
    except IsegError:
        raise
    except OSError as error:
        raise _not_written(path, error) from None
    finally:
        remove(fresh)


def write_text(path: Path, text: str) -> None:
    """Replace a small text file."""
    with replacing(path) as stream:
        stream.write(text.encode("utf-8"))


def temporary_beside(path: Path, kind: str = "part") -> Path:
    """A hidden name beside ``path`` that nothing has, with its suffix; what killed processes left goes first.

    Parameters
    ----------
    path : what is to be replaced, a file or a folder
    kind : "part" for what is being written, "old" for what was there and is put back if need be
    """
    sweep(path.parent, path.name)
    return path.with_name(f".{path.name}.{_machine()}-{os.getpid()}-{uuid4().hex[:8]}.{kind}{path.suffix}")


def sweep(folder: Path, name: str | None = None) -> None:
    """Remove what processes that were killed while they replaced something left in a folder.

    What was there before and is missing now is put back. Processes of other machines may still be alive.

    Parameters
    ----------
    name : of what was replaced; None: anything
    """
    for entry, replaced, kind in left_by_killed(folder, name):
        with suppress(OSError):  # a folder that may not be written to
            if kind == "old" and not replaced.exists():
                entry.rename(replaced)
            else:
                remove(entry)


def left_by_killed(folder: Path, name: str | None = None) -> list[tuple[Path, Path, str]]:
    """What killed processes left: where it lies, whose place it had or is to take, and "part" or "old"."""
    known = "(.+)" if name is None else f"({re.escape(name)})"
    pattern = re.compile(rf"\.{known}\.{_machine()}-(\d+)-[0-9a-f]{{8}}\.(part|old)(\..*)?")
    found = ((entry, pattern.fullmatch(entry.name)) for entry in sorted(folder.glob(".*.*-*-*.*")))
    return [
        (entry, folder / match[1], match[3])
        for entry, match in found
        if match is not None and not _is_alive(int(match[2]))
    ]


def remove(path: Path) -> None:
    """Remove a file, or a folder with all in it; what cannot be removed stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _machine() -> str:
    """Tells machines that share a folder apart: their numbers of processes are their own."""
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _is_alive(process: int) -> bool:
    import psutil  # here, as there is seldom anything to ask

    return bool(psutil.pid_exists(process))


def _not_written(path: Path, error: OSError) -> SaveError:
    return SaveError(
        f"{path} could not be written ({error.strerror or error}); nothing was changed. Free some space, "
        "or make the folder one that you may write to."
    )
