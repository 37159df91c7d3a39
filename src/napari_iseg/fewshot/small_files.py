"""Small files that lie with a run: written whole or not at all."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari_iseg.errors import SaveError


def write_json(path: Path, value: Any) -> None:
    """Replace a file.

    Raises
    ------
    SaveError
        When the disk is full or read-only; the file is then as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("w") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):  # of a read-only disk
            temporary.unlink(missing_ok=True)
        raise SaveError(
            f"{path} could not be written ({error.strerror or error}); free some space or make the folder "
            "writable, and repeat the last action, which was not done."
        ) from error
