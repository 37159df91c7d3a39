"""``log.csv``: one row per training step, its columns those that the run has to tell."""

from __future__ import annotations

import csv
import os
from contextlib import suppress
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from napari_iseg.errors import InputError
from napari_iseg.files import write_text

TERM = "loss_"  # before a term's name in its column: a term and a score may share a name


@dataclass
class Progress:
    """What a caller is told after each step.

    ``loss`` is per single forward, ``terms`` are unweighted, ``scores`` empty where nothing was validated.
    """

    step: int
    steps: int
    loss: float
    rate: float
    seconds: float
    scores: dict[str, float]
    terms: dict[str, float] = field(default_factory=dict)


class Log:
    """``log.csv``; rows after the step a run resumes from are dropped first."""

    def __init__(self, path: Path, resume_step: int) -> None:
        self.path = path
        self.names = ["step", "loss", "rate", "seconds"]
        if path.exists():
            names, rows = read_log(path)
            self._rewrite(names, [row for row in rows if int(row["step"]) <= resume_step])

    def add(self, progress: Progress) -> None:
        """Append one step; a term or score that is new gets a new column.

        Raises
        ------
        OSError
            When it cannot be written (SaveError where a column is new); what was there before is whole.
        """
        row: dict[str, object] = {
            "step": progress.step,
            "loss": progress.loss,
            "rate": progress.rate,
            "seconds": progress.seconds,
        }
        row.update({TERM + name: value for name, value in progress.terms.items()})
        row.update(progress.scores)
        new = [name for name in row if name not in self.names]
        if new or not self.path.exists():
            rows = read_log(self.path)[1] if self.path.exists() else []
            self._rewrite([*self.names, *new], rows)
        whole = self.path.stat().st_size
        try:
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, self.names, restval="").writerow(row)
        except OSError:
            with suppress(OSError):  # half a row would be read as one of another step
                os.truncate(self.path, whole)
            raise

    def _rewrite(self, names: list[str], rows: list[dict[str, str]]) -> None:
        self.names = names
        text = StringIO(newline="")
        writer = csv.DictWriter(text, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.path, text.getvalue())


def read_log(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Column names and rows of a log; "" where a step has no value.

    A power cut leaves half a row at the end, or zeros for what had not reached the disk; both are left out.

    Raises
    ------
    InputError
        For a row without a step, or with more values than columns.
    """
    whole = path.read_bytes().split(b"\0", 1)[0]
    try:
        reader = csv.DictReader(StringIO(whole[: whole.rfind(b"\n") + 1].decode(), newline=""))
        names, rows = list(reader.fieldnames or ()), list(reader)
        sound = all(int(row["step"]) >= 0 and None not in row for row in rows)
    except (ValueError, TypeError, KeyError, csv.Error):
        sound = False
    if not sound:
        raise InputError(
            f"{path} holds a row that is no training step; mend it, or move the file away to begin a new one."
        )
    return names, rows
