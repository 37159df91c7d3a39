"""Room for a run: nobody else at work on its output, and what an earlier one left goes once it predicts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from napari_iseg.errors import InputError, IsegError, SaveError
from napari_iseg.files import give_back, hidden_in, real_place, remove, temporary_beside
from napari_iseg.labels.store import LabelStore
from napari_iseg.locks import FolderLock

# In a run's folder, of an output: what was found of its blocks, and words on planes that go with it.
RECORD = "journal.jsonl"
_FOUND = (RECORD, "drafts", "supports", "decisions.json", "objects.json")
_PATIENCE = 10.0  # seconds, for one that is just ending


class Hold(FolderLock):
    """That no other process or window works on an output meanwhile.

    Parameters
    ----------
    out, folder : of the run; the folder is made when missing

    Raises
    ------
    InputError
        When another run is at work there.
    SaveError
        When the folder cannot be made.
    """

    def __init__(self, out: Path, folder: Path) -> None:
        busy = f"Another run is at work on {out}; wait until it ends, or choose another name."
        super().__init__(folder, busy, "choose another output", _PATIENCE)

    @property
    def is_new(self) -> bool:
        """Whether there is no record of an earlier run, so that its output is of somebody else."""
        return not (self.folder / RECORD).exists()

    def release(self) -> None:
        """Let others work on it; a folder that holds nothing goes, whoever has made it."""
        super().release()
        with suppress(OSError):
            self.folder.rmdir()


def put_back(out: Path, folder: Path) -> None:
    """What a run had moved away that was killed before it was worth more.

    The caller has the ``Hold``: whoever moved something away, on whatever machine, is at work no more.
    """
    moved = [
        (place, entry.path)
        for place in _places(out, folder)
        for entry in hidden_in(place.parent, place.name)
        if entry.kind == "old"
    ]
    if any(place == real_place(out) for place, _ in moved):
        # with an output it had begun, so that all is its own; else it was killed while it moved things away
        for place in _places(out, folder) if out.exists() else [place for place, _ in moved]:
            remove(place)
        _back(moved)
    for _, old in moved:
        remove(old)


class Room:
    """What a run replaces, moved away until the run is worth more than it; ``Room()`` replaces nothing.

    Parameters
    ----------
    places : what the run makes
    moved : what was in their places, as pairs (place, name meanwhile)

    Attributes
    ----------
    given_up : whether what the run made is gone
    """

    def __init__(self, places: Sequence[Path] = (), moved: Sequence[tuple[Path, Path]] = ()) -> None:
        self._places, self._moved = places, moved
        self.given_up = False

    @property
    def replaces(self) -> bool:
        """Whether there is something to put back."""
        return bool(self._moved)

    def settle(self) -> None:
        """Let the run stay, and delete what it replaces; calling it again does nothing."""
        moved, self._places, self._moved = self._moved, (), ()  # at once: what is half gone is not put back
        going = [temporary_beside(place) for place, _ in moved]
        for (_, old), name in zip(
            moved, going, strict=True
        ):  # nor by the next run, should this one be killed
            with suppress(OSError):
                old.rename(name)
        for old in (*going, *(old for _, old in moved)):
            remove(old)

    def give_up(self) -> None:
        """Put everything back as it was, unless the run has settled.

        Raises
        ------
        SaveError
            For what cannot be put back: it says where that is.
        """
        self.given_up = bool(self._places)
        for path in self._places:
            remove(path)
        _back(self._moved)


def room_for(out: Path, folder: Path, existing: str, *, unknown: bool) -> Room:
    """Move an output that is to be overwritten away.

    What was found of an output goes with it, also where the user has deleted it. The user's clicks, encoded
    images, and whatever else lies in the folder or beside it stay.

    Parameters
    ----------
    out, folder : of the run; both may be missing
    existing : what to do with ``out``, see ``propagate``
    unknown : whether there is no record of ``out``, so that it is of somebody else

    Raises
    ------
    InputError
        When ``out`` is to be resumed and has no record, or is to be overwritten and holds no labels.
    SaveError
        When something cannot be moved; everything is then where it was, or its words say where.
    """
    if out.exists() and existing != "overwrite":
        if unknown:
            raise InputError(
                f"{out} was not made by a run whose record is here, so it cannot be resumed; overwrite it or "
                "choose another name."
            )
        return Room()
    if out.exists():
        try:
            LabelStore.open(out)
        except IsegError as error:
            raise InputError(f"{out} exists and holds no labels; choose another name.") from error
    places = _places(out, folder)
    return Room(places, _moved(places))


def _places(out: Path, folder: Path) -> tuple[Path, ...]:
    """What is of an output; of a link what it names: only beside that it can be moved away."""
    return tuple(real_place(path) for path in (out, *(folder / name for name in _FOUND)))


def _moved(places: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Give what there is a hidden name that nobody has: pairs (name, name meanwhile)."""
    moved: list[tuple[Path, Path]] = []
    try:
        for path in places:
            if path.exists():
                old = temporary_beside(path, "old")
                path.rename(old)
                moved.append((path, old))
    except OSError as error:
        _back(moved)
        raise SaveError(
            f"{places[0]} could not be replaced ({error.strerror or error}); close what has it open, or "
            "choose another name."
        ) from error
    return moved


def _back(moved: Sequence[tuple[Path, Path]]) -> None:
    """Give all their names again, as many as can have them; SaveError for one that cannot."""
    refusals = []
    for path, old in moved:
        try:
            give_back(old, path)
        except SaveError as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]
