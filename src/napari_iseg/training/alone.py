"""One process at a time trains in a run's folder: two would write over each other's checkpoints and log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from filelock import Timeout

from napari_iseg.errors import InputError, SaveError
from napari_iseg.files import acquired

_LOCK: Final = ".lock"


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep other processes from training in ``out``, which is made where it is missing, within the block.

    The system lets go of the lock when the process ends, however it ends. On a file system without locks the
    block runs unlocked. A folder that was made for nothing, as the recipe is refused, goes again.

    Raises
    ------
    InputError
        Another process is training there.
    SaveError
        The folder cannot be written to.
    """
    is_new = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = acquired(out / _LOCK, 0)
    except Timeout:
        raise InputError(
            f"Another process is training in {out}; wait until it ends, or give another --out."
        ) from None
    except OSError as error:
        raise SaveError(
            f"The run's folder {out} cannot be used ({error.strerror or error}); give another --out."
        ) from None
    try:
        yield
    finally:
        with suppress(OSError):
            if is_new and [path.name for path in out.iterdir()] == [_LOCK]:
                (out / _LOCK).unlink()
        if lock is not None:
            lock.release()
        if is_new:
            with suppress(OSError):  # it holds something
                out.rmdir()
