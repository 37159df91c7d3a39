"""Room for a run that begins anew: what an earlier one left goes only once the new one can start."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from napari_iseg.errors import InputError, IsegError, SaveError
from napari_iseg.labels.store import LabelStore

# In a run's folder, of an output: what was found of its blocks, and words on planes that go with it.
_FOUND = ("journal.jsonl", "drafts", "supports", "decisions.json", "objects.json")


@contextmanager
def room_for(out: Path, folder: Path, existing: str) -> Iterator[None]:
    """Move an output that is to be overwritten away; it is put back if the block raises, else deleted.

    What was found of an output goes with it, also where the user has deleted it. The user's clicks, encoded
    images, and whatever else lies in the folder or beside it stay.

    Parameters
    ----------
    out, folder : of the run; both may be missing
    existing : what to do with ``out``, see ``propagate``

    Raises
    ------
    InputError
        When ``out`` is to be resumed and has no record, or is to be overwritten and holds no labels.
    SaveError
        When something cannot be moved; everything is then where it was.
    """
    if out.exists() and existing != "overwrite":
        if not folder.exists():
            raise InputError(
                f"{out} was not made by a run whose record is here, so it cannot be resumed; overwrite it or "
                "choose another name."
            )
        yield
        return
    if out.exists():
        try:
            LabelStore.open(out)
        except IsegError as error:
            raise InputError(f"{out} exists and holds no labels; choose another name.") from error
    places = (out, *(folder / name for name in _FOUND))
    moved = _moved(places)
    try:
        yield
    except BaseException:
        for path in places:
            _remove(path)
        _put_back(moved)
        with suppress(OSError):
            folder.rmdir()  # made for nothing, unless there is something of the user's in it
        raise
    for _, old in moved:
        _remove(old)


def _moved(places: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Give what there is a hidden name that nobody has: pairs (name, name meanwhile)."""
    moved: list[tuple[Path, Path]] = []
    try:
        for path in places:
            if path.exists():
                old = path.with_name(f".{path.name}.{os.getpid()}.{uuid4().hex[:8]}.old")
                path.rename(old)
                moved.append((path, old))
    except OSError as error:
        _put_back(moved)
        raise SaveError(
            f"{places[0]} could not be replaced ({error.strerror or error}); close what has it open, or "
            "choose another name."
        ) from error
    return moved


def _put_back(moved: Sequence[tuple[Path, Path]]) -> None:
    for path, old in moved:
        old.rename(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(OSError):
        path.unlink(missing_ok=True)
