"""Whether a checkpoint still holds what was written, and weights numbers; what a checkpoint's reader says."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from napari_iseg.errors import CheckpointError
from napari_iseg.weights.verify import broken_names


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


def check_finite(state: Mapping[str, Tensor]) -> None:
    """Refuse weights that hold NaN or infinity: they can be neither validated nor exported.

    Raises
    ------
    CheckpointError
        The sentence names the first of them and the way on.
    """
    if broken := broken_names(state):
        raise CheckpointError(
            f"The trained weights hold NaN or infinity in {broken}, so no model was exported; start anew in "
            "another --out with a lower rate, or with precision = '32-true' if it was another."
        )


def first_line(error: Exception) -> str:
    """What an error of torch's reader or writer says, for a sentence."""
    told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (told.strip().splitlines() or [type(error).__name__])[0].rstrip(".")
