"""Writing so that a reader sees the old file or folder or the new one, never a half; and locks."""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING
from uuid import uuid4

from napari_iseg.errors import IsegError, SaveError

if TYPE_CHECKING:
    from filelock import BaseFileLock

# Of `temporary_beside`: what it stands for, machine, process, kind.
_HIDDEN = re.compile(r"\.(.+)\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.(part|old)(?:\..*)?")
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A stream into a temporary neighbour of ``path``, which takes its place when the block ends well.

    Where ``path`` is a link, what it names is replaced.

    Raises
    ------
    SaveError
        It cannot be written (no space, no permission); ``path`` is untouched and the neighbour removed.
    """
    target = real_place(path)
    temporary = temporary_beside(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
    except IsegError:
        raise
    except OSError as error:
        raise _not_written(path, error) from None
    finally:
        remove(temporary)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A new folder beside ``path`` to be filled, which takes its place when the block ends well.

    Where ``path`` is a link, what it names is replaced. Killed between the two renames that this takes, the
    earlier folder is put back by the next ``sweep``.

    Raises
    ------
    SaveError
        It cannot be written; ``path`` is untouched, or the message says where it is now, and the new folder
        removed.
    """
    target = real_place(path)
    fresh = temporary_beside(target)
    try:
        fresh.mkdir(parents=True)
        yield fresh
        put_in_place(fresh, target)
    except SaveError as error:  # of a file inside, whose place has another name for the reader
        raise SaveError(str(error).replace(str(fresh), str(path))) from None
    except IsegError:
        raise
    except OSError as error:
        raise _not_written(path, error) from None
    finally:
        remove(fresh)


def put_in_place(fresh: Path, path: Path) -> None:
    """Give a folder that is complete its name, of a link that of what it names; an earlier folder goes.

    Raises
    ------
    OSError
        The names cannot be changed; the earlier one is there as before.
    SaveError
        Nor can they be changed back: it says where the earlier one is.
    """
    target = real_place(path)
    old = temporary_beside(target, "old")
    if target.exists():
        target.rename(old)
    try:
        fresh.rename(target)
    except BaseException:
        if old.exists():
            give_back(old, target)
        raise
    remove(old)


def give_back(old: Path, path: Path) -> None:
    """Give what was moved away its name again.

    Raises
    ------
    SaveError
        It cannot have it; it stays where it is.
    """
    try:
        old.rename(path)
    except OSError as error:
        raise SaveError(
            f"{path} could not be written, and what was there before could not be put back "
            f"({error.strerror or error}): it is {old} now. Close what has it open and rename it back."
        ) from error


def real_place(path: Path) -> Path:
    """What is replaced when ``path`` is: of a link what it names, which may be missing."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def write_text(path: Path, text: str) -> None:
    """Replace a small text file."""
    with replacing(path) as stream:
        stream.write(text.encode("utf-8"))


def temporary_beside(path: Path, kind: str = "part") -> Path:
    """A hidden name beside ``path`` that nothing has, with its suffix; of a link beside what it names.

    Where ``path`` has such a name already, it is another one for the same place, and no longer: file systems
    have a limit. What killed processes left goes first where ``path`` is there already. A new name costs no
    look through its folder, which may hold very many files.

    Parameters
    ----------
    path : what is to be replaced, a file or a folder
    kind : "part" for what is being written, "old" for what was there and is put back if need be
    """
    path = real_place(path)
    hidden = _HIDDEN.fullmatch(path.name)
    place = path.with_name(hidden[1]) if hidden else path
    if place.exists():
        sweep(place.parent, place.name)
    return place.with_name(f".{place.name}.{_machine()}-{os.getpid()}-{uuid4().hex[:8]}.{kind}{place.suffix}")


@dataclass(frozen=True, slots=True)
class Hidden:
    """Something with a name of ``temporary_beside``: where it lies, and what it stands for."""

    path: Path
    place: Path
    kind: str
    machine: str
    process: int

    @property
    def left(self) -> bool:
        """Whether a process that was killed left it.

        Whether those of other machines are alive is not known, but an old one is out of the way for a moment
        only. (For longer in `fewshot/room.py`, where a lock keeps others away.)
        """
        if self.machine != _machine():
            return self.kind == "old"
        import psutil  # here, as there is seldom anything to ask

        return not psutil.pid_exists(self.process)


def sweep(folder: Path, name: str | None = None) -> None:
    """Remove what processes that were killed while they replaced something left in a folder.

    What was there before and is missing now is put back.

    Parameters
    ----------
    name : of what was replaced; None: anything
    """
    for entry in hidden_in(folder, name):
        with suppress(OSError):  # a folder that may not be written to
            if not entry.left:
                continue
            if entry.kind == "old" and not entry.place.exists():
                entry.path.rename(entry.place)
            else:
                remove(entry.path)


def hidden_in(folder: Path, name: str | None = None) -> list[Hidden]:
    """All in a folder that has a name of ``temporary_beside``: of ``name``, or of anything."""
    try:
        with os.scandir(folder) as entries:  # the fastest way, and there may be very many
            names = [entry.name for entry in entries if entry.name.startswith(".")]
    except OSError:  # no folder, or one that may not be read
        return []
    return [
        Hidden(folder / match[0], folder / match[1], match[4], match[2], int(match[3]))
        for match in map(_HIDDEN.fullmatch, sorted(names))
        if match is not None and name in (None, match[1])
    ]


def remove(path: Path) -> None:
    """Remove a file, or a folder with all in it; what cannot be removed stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(OSError):
        path.unlink(missing_ok=True)


def acquired(path: Path, timeout: float = -1) -> BaseFileLock | None:
    """The lock whose file is ``path``, held; None on a file system without locks: work goes on without.

    Parameters
    ----------
    timeout : seconds to wait for whoever has it; -1: as long as it takes

    Raises
    ------
    filelock.Timeout
        Somebody else has it still.
    OSError
        Its file cannot be made.
    """
    from filelock import FileLock  # here, as most that is written needs none

    # Its own way without locks would take the file that an earlier lock has left for one that is held.
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=timeout)
    except NotImplementedError:
        return None
    except OSError as error:  # a Timeout is one too, without a number
        if error.errno not in _NO_LOCKS:
            raise
        return None
    return lock


def _machine() -> str:
    """Tells apart what may share a folder but not the numbers of processes: machines, starts, containers."""
    known = [platform.node()]
    with suppress(OSError):  # only Linux has them
        known.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
        known.append(str(Path("/proc/self/ns/pid").readlink()))
    return f"{zlib.crc32(' '.join(known).encode()):08x}"


def _not_written(path: Path, error: OSError) -> SaveError:
    return SaveError(
        f"{path} could not be written ({error.strerror or error}); nothing was changed. Free some space, "
        "or make the folder one that you may write to."
    )
