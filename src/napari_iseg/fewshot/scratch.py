"""Predictions that wait on disk until their neighbours are there to be blended with."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_iseg.disk_cache import read_npz
from napari_iseg.files import replacing


@dataclass(frozen=True, eq=False, slots=True)
class Draft:
    """What a job found in its window.

    Attributes
    ----------
    probability : (L, H, W) float32 of the labels, background left out; None where a chain was given up
    trust : 0 to 1
    presence : (L,) float32
    """

    probability: npt.NDArray[np.float32] | None
    trust: float
    presence: npt.NDArray[np.float32]

    def with_background(self) -> npt.NDArray[np.float32]:
        """(L + 1, H, W) float32, background first."""
        assert self.probability is not None
        background = np.clip(1 - self.probability.sum(0, keepdims=True), 0, 1)
        return np.concatenate([background, self.probability])


class Scratch:
    """A folder with one file per job that is done but still needed.

    Probabilities are kept as float16, and everything downstream reads them from here, so a resumed run goes
    on with the very same numbers.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, draft: Draft) -> None:
        """Write a draft, whole or not at all.

        Raises
        ------
        SaveError
            When the disk is full or read-only.
        """
        kept = draft.probability if draft.probability is not None else np.zeros((0, 0, 0), np.float32)
        fix = "free some space and resume: what is finished is kept"
        with replacing(self._path(name), synced=False, fix=fix) as file, np.errstate(under="ignore"):
            # What is too small for float16 is 0 there, whatever the caller lets numpy raise.
            np.savez(
                file,
                probability=kept.astype(np.float16),
                trust=np.float64(draft.trust),
                presence=draft.presence.astype(np.float32),
            )

    def read(self, name: str) -> Draft | None:
        """The draft of a job; None when there is none or a power cut has damaged it."""
        stored = read_npz(self._path(name), ("probability", "trust", "presence"))
        if stored is None:
            return None
        values = stored["probability"].astype(np.float32)
        return Draft(values if values.size else None, float(stored["trust"]), stored["presence"])

    def holds(self, name: str) -> bool:
        """Whether there is a whole file for a job."""
        path = self._path(name)
        return path.is_file() and zipfile.is_zipfile(path)

    def drop(self, name: str) -> None:
        """Forget a draft; none is fine."""
        self._path(name).unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget all drafts, and what a killed process left half written."""
        for path in self.folder.iterdir():
            path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npz"
