"""Naming a full disk where the package that writes on it names only what it was about."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

_BLOCK = 4096  # bytes: with fewer left nothing is written any more


def with_reason(error: Exception, path: Path, wanted: int = _BLOCK) -> OSError:
    """An error in writing ``path`` as one that has its reason.

    Of one that has none itself, as GDAL's, it is looked up whether there was room.

    Parameters
    ----------
    wanted : the bytes that were to be written at least, where a part of them may be taken back by now
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error
    if shutil.disk_usage(path.parent).free < wanted:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return error if isinstance(error, OSError) else OSError(str(error))
