"""Label arrays as layers show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import zarr
import zarr.storage


def read_only(levels: Sequence[Any]) -> list[Any]:
    """Zarr arrays on disk without leave to write; what is written to the same files later shows in them.

    napari's "Duplicate layer" copies such an array to the same files: a brush stroke in the copy would change
    what we have written. Arrays in memory are copied with their pixels and stay as they are.
    """
    return [
        level
        if isinstance(level.store, zarr.storage.MemoryStore)
        else zarr.open_array(store=level.store, path=level.path, mode="r")
        for level in levels
    ]
