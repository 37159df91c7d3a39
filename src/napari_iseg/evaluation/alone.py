"""One process at a time works in a folder: two would write over each other's results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_iseg.locks import FolderLock


@contextmanager
def alone(out: Path, doing: str) -> Iterator[None]:
    """Keep other processes from working in ``out`` within the block, see `napari_iseg.locks.FolderLock`.

    Parameters
    ----------
    doing : what is done there, as in "training"

    Raises
    ------
    InputError
        Another process is at work there.
    SaveError
        The folder cannot be written to.
    """
    busy = f"Another process is {doing} in {out}; wait until it ends, or give another --out."
    lock = FolderLock(out, busy, "give another --out")
    try:
        yield
    finally:
        lock.release()
