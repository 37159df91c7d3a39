"""Writing so that a reader sees the old file or folder or the new one, never a half."""

from __future__ import annotations

import os
import platform
import re
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from uuid import uuid4

from napari_iseg.errors import InputError, IsegError, SaveError

# Of `temporary_beside`: what it stands for, machine, process, kind.
_HIDDEN = re.compile(r"\.(.+)\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.(part|old)(?:\..*)?")
_FILE_ADDRESS = re.compile(r"file:(?://(?:localhost)?)?(/(?!/).+)", re.IGNORECASE)
_FIX = "nothing was changed. Free some space, or make the folder one that you may write to"


@contextmanager
def replacing(path: Path, *, new: bool = False, synced: bool = True, fix: str = _FIX) -> Iterator[IO[bytes]]:
    """A stream into a temporary neighbour of ``path``, which takes its place when the block ends well.

    Where ``path`` is a link, what it names is replaced. Who may read and write it stays.

    Parameters
    ----------
    new : nothing may be replaced, also nothing that was made meanwhile
    synced : it survives a power cut; False for what can be made again, as that is faster
    fix : the end of the sentence when it cannot be written, without its full stop

    Raises
    ------
    InputError
        It is there and should be new.
    SaveError
        It cannot be written (no space, no permission); ``path`` is untouched and the neighbour removed.
    """
    target = real_place(path)
    temporary = temporary_beside(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:
            yield stream
            if synced:
                stream.flush()
                os.fsync(stream.fileno())
        give_name(temporary, path, new=new)
    except IsegError:
        raise
    except OSError as error:
        raise _not_written(path, error, fix) from None
    finally:
        remove(temporary)


def give_name(fresh: Path, path: Path, *, new: bool = False) -> None:
    """Give a file that is complete its name; with ``new`` only where nothing has it.

    Of two that do so at the same moment one succeeds: looking first whether the name is free would not do.

    Raises
    ------
    InputError
        It is there and should be new.
    OSError
        The name cannot be given; what was there is there as before.
    """
    target = real_place(path)
    if not new:
        _keep_mode(fresh, target)
        fresh.replace(target)
        return
    try:
        os.link(fresh, target)  # unlike a rename it never takes a name from another file
    except FileExistsError:
        raise _taken(path) from None
    except OSError:  # a file system without such links, like those of memory sticks
        try:
            target.open("xb").close()
        except FileExistsError:
            raise _taken(path) from None
        try:
            fresh.replace(target)
        except BaseException:
            if fresh.exists():  # what has the name is still the empty file
                remove(target)
            raise
    remove(fresh)


@contextmanager
def replacing_folder(path: Path, *, new: bool = False) -> Iterator[Path]:
    """A new folder beside ``path`` to be filled, which takes its place when the block ends well.

    Where ``path`` is a link, what it names is replaced. Killed between the two renames that this takes, the
    earlier folder is put back by the next ``sweep``.

    Parameters
    ----------
    new : nothing may be replaced, also nothing that was made meanwhile

    Raises
    ------
    InputError
        It is there and should be new.
    SaveError
        It cannot be written; ``path`` is untouched, or the message says where it is now, and the new folder
        removed.
    """
    target = real_place(path)
    fresh = temporary_beside(target)
    try:
        fresh.mkdir(parents=True)
        yield fresh
        put_in_place(fresh, target, new=new)
    except SaveError as error:  # of a file inside, whose place has another name for the reader
        raise SaveError(str(error).replace(str(fresh), str(path))) from None
    except IsegError:
        raise
    except OSError as error:
        raise _not_written(path, error, _FIX) from None
    finally:
        remove(fresh)


def put_in_place(fresh: Path, path: Path, *, new: bool = False) -> None:
    """Give a folder that is complete its name, of a link that of what it names; an earlier folder goes.

    Parameters
    ----------
    new : there may be no earlier one

    Raises
    ------
    InputError
        It is there and should be new.
    OSError
        The names cannot be changed; the earlier one is there as before.
    SaveError
        Nor can they be changed back: it says where the earlier one is.
    """
    target = real_place(path)
    if new:
        if target.exists():  # an empty folder would be replaced
            raise _taken(path)
        try:
            fresh.rename(target)  # refused where there is a file, or a folder that holds something
        except OSError:
            if target.exists():
                raise _taken(path) from None
            raise
        return
    old = temporary_beside(target, "old")
    if target.exists():
        _keep_mode(fresh, target)
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


def check_place(path: Path) -> None:
    """Refuse now what could not be written later: a name in a file, or a folder that may not be written to.

    A folder that is missing is asked for where it would be made.

    Raises
    ------
    SaveError
        The sentence names the file or folder.
    """
    folder = real_place(path).absolute().parent
    # A drive that is not there lies in nothing. Not Path.exists, which fails where one may not look.
    while not os.path.exists(folder) and folder != folder.parent:  # noqa: PTH110
        folder = folder.parent
    if not folder.is_dir():
        raise SaveError(f"There is no folder {folder}; choose another place for {path.name}.")
    if not os.access(folder, os.W_OK):
        raise SaveError(f"The folder {folder} cannot be written to; choose another place for {path.name}.")


def local_path(text: str) -> str:
    """The path that a file:// address of this machine names, as a desktop copies it; other text as it is.

    Qt and Java write one slash, and a path keeps one; what is of another machine is no path of this one.
    """
    address = _FILE_ADDRESS.fullmatch(text)
    if address is None:
        return text
    from urllib.request import url2pathname  # here, as it is slow to import

    return url2pathname(address[1])


def lies_in(path: Path, place: Path) -> bool:
    """Whether ``path`` is what ``place`` names, or lies in that folder: it goes when that is replaced."""
    same = path.exists() and place.exists() and path.samefile(place)
    return same or Path(os.path.realpath(path)).is_relative_to(os.path.realpath(place))


def made(folder: Path, fix: str) -> Path:
    """A folder, which is made with all that it lies in where it is missing.

    Parameters
    ----------
    fix : what to do when it cannot be made, the end of that sentence

    Raises
    ------
    SaveError
        It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveError(f"The folder {folder} cannot be made ({error.strerror or error}); {fix}.") from error
    return folder


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


def _keep_mode(fresh: Path, target: Path) -> None:
    """Let those who may read and write what is replaced do so with what takes its place."""
    with suppress(OSError):  # nothing is there, or its file system knows no such rights
        shutil.copymode(target, fresh)


def _machine() -> str:
    """Tells apart what may share a folder but not the numbers of processes: machines, starts, containers."""
    known = [platform.node()]
    with suppress(OSError):  # only Linux has them
        known.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
        known.append(str(Path("/proc/self/ns/pid").readlink()))
    return f"{zlib.crc32(' '.join(known).encode()):08x}"


def _taken(path: Path) -> InputError:
    return InputError(
        f"{path} exists already: somebody made it meanwhile, and it was left as it is; overwrite it or "
        "choose another name."
    )


def _not_written(path: Path, error: OSError, fix: str) -> SaveError:
    return SaveError(f"{path} could not be written ({error.strerror or error}); {fix}.")
