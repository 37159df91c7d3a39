"""Locks that keep other processes away; the system lets go of them when a process ends, however it ends."""

from __future__ import annotations

import errno
import time
from contextlib import suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from napari_iseg.errors import InputError, SaveError

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
_LOCK = ".lock"
_VANISHING = 1.0  # seconds that a folder may go again and again just after it was made


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


class FolderLock:
    """That no other process or window works in a folder meanwhile.

    The folder is made where it is missing; one that was made for nothing, as what was asked for is refused,
    goes again. On a file system without locks work goes on without.

    Parameters
    ----------
    busy : the sentence when another process is at work there
    fix : what to do when the folder cannot be written to, the end of that sentence
    patience : seconds to wait for one that is just ending

    Raises
    ------
    InputError
        Another process is at work there.
    SaveError
        The folder cannot be made or written to.
    """

    def __init__(self, folder: Path, busy: str, fix: str, patience: float = 0.0) -> None:
        self.folder = folder
        try:
            self._acquire(time.monotonic() + patience)
        except Timeout:
            raise InputError(busy) from None
        except OSError as error:
            raise SaveError(
                f"The folder {folder} cannot be used ({error.strerror or error}); {fix}."
            ) from None

    def _acquire(self, until: float) -> None:
        while True:
            self._is_new = not self.folder.exists()
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._lock = acquired(self.folder / _LOCK, max(0.0, until - time.monotonic()))
                return
            # Whoever had it was refused, and has taken the empty folder away; the latter: within mkdir.
            except (FileNotFoundError, FileExistsError):
                if self.folder.is_file() or time.monotonic() > until + _VANISHING:
                    raise

    def release(self) -> None:
        """Let others work there."""
        with suppress(OSError):  # whoever has opened it meanwhile finds that it is gone, and makes another
            (self.folder / _LOCK).unlink()
        if self._lock is not None:
            self._lock.release()
        if self._is_new:
            with suppress(OSError):  # it holds something
                self.folder.rmdir()
