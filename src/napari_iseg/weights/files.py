"""Writing so that a reader sees the old file or the new one, never a half."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from napari_iseg.errors import IsegError, SaveError


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A stream into a temporary neighbour of ``path``, which takes its place when the block ends well.

    Raises
    ------
    SaveError
        It cannot be written (no space, no permission); ``path`` is untouched and the neighbour removed.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except IsegError:
        raise
    except OSError as error:
        raise SaveError(
            f"{path} could not be written ({error.strerror or error}); nothing was changed. Free some space, "
            "or make the folder one that you may write to."
        ) from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replace a small text file."""
    with replacing(path) as stream:
        stream.write(text.encode("utf-8"))
