"""GDAL rasters read from several threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock
from typing import Any

import numpy as np
import pytest

from napari_iseg.images import gdal

pytest.importorskip("rasterio")


class OneAtATime:
    """A raster that remembers whether two threads have read it at once, as GDAL must not."""

    count, shape, block_shapes, dtypes = 1, (64, 64), ((64, 64),), ("uint8",)

    def __init__(self) -> None:
        self.busy, self.both, self.met = Lock(), False, Event()

    def read(self, numbers: list[int], *, window: Any, out_dtype: Any) -> np.ndarray:
        if not self.busy.acquire(blocking=False):
            self.both = True
            self.met.set()
            return np.zeros((1, 4, 4), out_dtype)
        self.met.wait(0.05)  # time for another to come in
        self.busy.release()
        return np.zeros((1, 4, 4), out_dtype)


def test_a_raster_is_read_by_one_thread_at_a_time(tmp_path, monkeypatch):
    opened: list[OneAtATime] = []

    def opener(*_: Any, **__: Any) -> OneAtATime:
        opened.append(OneAtATime())
        return opened[-1]

    monkeypatch.setattr(gdal, "_open", opener)
    level = gdal._Level(tmp_path / "a.jp2", OneAtATime(), np.dtype("uint8"), None)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda row: level[row : row + 4, :4], range(0, 8, 4)))
    assert len(opened) == 1
    assert not opened[0].both
