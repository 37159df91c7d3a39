"""What the user has said of predicted planes, on disk with the run: accepted, or rejected."""

from __future__ import annotations

import json
from pathlib import Path

from napari_iseg.errors import InputError
from napari_iseg.fewshot.frame import Plane
from napari_iseg.files import write_text

_FILE = "decisions.json"


class Decisions:
    """Accepted and rejected planes of one run; every change is on disk before it counts.

    Only planes are kept: the mask of an accepted plane is what the output holds there, and a rejected plane
    is empty there.

    Parameters
    ----------
    folder : of the run

    Raises
    ------
    InputError
        When the file is there and is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self.accepted: set[Plane] = set()
        self.rejected: set[Plane] = set()
        if not self._path.exists():
            return
        try:
            known = json.loads(self._path.read_text())
            self.accepted, self.rejected = (
                {tuple(int(index) for index in plane) for plane in known[word]}
                for word in ("accepted", "rejected")
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self._path} is damaged; delete it, and accept or reject those slices again."
            ) from error

    def accept(self, plane: Plane) -> None:
        """A plane is right."""
        self._write(self.accepted | {plane}, self.rejected - {plane})

    def reject(self, plane: Plane) -> None:
        """A plane is wrong."""
        self._write(self.accepted - {plane}, self.rejected | {plane})

    def forget(self, plane: Plane) -> None:
        """A plane has a new answer, or the word on it was taken back."""
        if plane in self.accepted or plane in self.rejected:
            self._write(self.accepted - {plane}, self.rejected - {plane})

    def _write(self, accepted: set[Plane], rejected: set[Plane]) -> None:
        """Replace the file, then the sets.

        Raises
        ------
        SaveError
            When the disk is full or read-only; nothing has then changed.
        """
        write_text(self._path, json.dumps({"accepted": sorted(accepted), "rejected": sorted(rejected)}))
        self.accepted, self.rejected = accepted, rejected
