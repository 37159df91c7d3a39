"""Whether a checkpoint still holds what was written, and what its reader says of it."""

from __future__ import annotations

import zipfile
from pathlib import Path


def check_whole(path: Path) -> None:
    """Compare every part of a checkpoint with the checksum that torch wrote with it.

    Torch's own reader does not: it would go on from a flipped bit as if the run had learned it.

    Raises
    ------
    ValueError
        When one differs; OSError, BadZipFile and others when the file cannot even be read.
    """
    with zipfile.ZipFile(path) as file:
        damaged = file.testzip()
    if damaged is not None:
        raise ValueError(f"the checksum of its part {damaged!r} is another")


def first_line(error: Exception) -> str:
    """What an error of torch's reader or writer says, for a sentence."""
    told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (told.strip().splitlines() or [type(error).__name__])[0].rstrip(".")
