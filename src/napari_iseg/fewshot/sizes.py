"""Memory budgets: reading them as people write them, and sharing one out."""

from __future__ import annotations

import re
from dataclasses import dataclass

from napari_iseg.errors import InputError

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_BASE = 64 * 10**6  # the interpreter's own arrays, zarr's buffers, the journal


def byte_count(size: str | int, name: str = "The memory budget") -> int:
    """Bytes of "2 GB", "512MiB", or a number of bytes; ``name`` is whose size it is.

    Raises
    ------
    InputError
        When it is no size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", str(size))
    if match is None or match[2].lower() not in _UNITS:
        raise InputError(f"{name} {size!r} is not understood; write it like '2 GB'.")
    return int(float(match[1]) * _UNITS[match[2].lower()])


@dataclass(frozen=True, slots=True)
class Budget:
    """How the memory of one worker is shared out, in bytes.

    Attributes
    ----------
    features : for encoded images
    supports : for images and masks of supports
    ahead : for images that are read before their turn
    """

    features: int
    supports: int
    ahead: int


def share(memory: int, tile: tuple[int, int], labels: int) -> Budget:
    """Share a budget between the caches of a worker.

    Parameters
    ----------
    memory : bytes
    tile : rows and columns of a window
    labels : how many

    Raises
    ------
    InputError
        When not even one tile can be worked on.
    """
    pixels = tile[0] * tile[1]
    working = pixels * (3 * 4 * 6 + (labels + 1) * 4 * 16)  # a tile, its neighbours' answers, the blend
    left = memory - _BASE - working
    if left < 0:
        least = -(-(_BASE + working) // 10**6)
        raise InputError(
            f"A memory budget of {memory / 10**6:.0f} MB is too small for tiles of {tile[0]} x {tile[1]} "
            f"pixels and {labels} label(s); give at least {least} MB or smaller tiles."
        )
    return Budget(features=left // 2, supports=left // 4, ahead=left // 8)
