"""Chunks on the disk whose labels all went: they keep their files, which are told without decoding them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zarr
import zarr.storage


def empty_file(array: Any) -> bytes | None:
    """What the file of a chunk holds that is bare all over, as this program writes it in a zarr array.

    None for an array without pixels, and for one in shards, which may be large: those are looked into.
    """
    if array.shards is not None:
        return None
    files: dict[str, Any] = {}
    place = zarr.storage.StorePath(zarr.storage.MemoryStore(files))
    copy = zarr.Array(zarr.AsyncArray(array.metadata, place, {"write_empty_chunks": True}))
    chunk = tuple(slice(0, min(c, n)) for c, n in zip(array.chunks, array.shape, strict=True))
    copy[chunk] = array.fill_value
    written = next(iter(files.values()), None)
    return None if written is None else bytes(written.to_bytes())


def is_empty(file: Path, empty: bytes | None) -> bool:
    """Whether a file holds just what ``empty_file`` says; one that cannot be read does not."""
    try:
        return empty is not None and file.stat().st_size == len(empty) and file.read_bytes() == empty
    except OSError:  # whoever reads the chunk says so
        return False
