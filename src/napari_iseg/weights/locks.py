"""One process at a time for what must not be done by two at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, Timeout

from napari_iseg.errors import SaveError
from napari_iseg.locks import acquired


@contextmanager
def held(home: Path, name: str, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock ``name`` of the user's folder ``home``, after whoever has it now.

    The system lets go of a lock when its process ends, however it ends. On a file system without locks the
    block runs unlocked.

    Parameters
    ----------
    waiting : called once when somebody else holds the lock, before waiting for it

    Raises
    ------
    SaveError
        The lock's file cannot be written.
    """
    lock = _acquired(home / "locks", name, waiting)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def _acquired(folder: Path, name: str, waiting: Callable[[], None] | None) -> BaseFileLock | None:
    """The lock, held; None on a file system without locks."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{name}.lock"
        try:
            return acquired(file, 0)
        except Timeout:
            if waiting is not None:
                waiting()
            return acquired(file)
    except OSError as error:
        raise SaveError(
            f"{folder} cannot be written to ({error.strerror or error}); "
            "mend that or set NAPARI_ISEG_HOME to another folder."
        ) from None
