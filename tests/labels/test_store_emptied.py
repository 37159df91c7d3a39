"""An overwriting write drops every object it leaves without pixels, whatever fails, however many they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_iseg.errors import SaveError
from napari_iseg.labels.store import LabelStore


@pytest.mark.parametrize("fails", [1, 2])
def test_what_a_failed_write_has_covered_is_no_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: int
) -> None:
    store = LabelStore((3000, 100), path=tmp_path / "l.zarr")
    store.write(1, (), (0, 0, 50, 50), np.ones((50, 50), bool))
    put, calls = store.put, iter(range(1, 100))

    def full(*args: object) -> None:
        if next(calls) == fails:
            raise SaveError("The disk is full.")
        put(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "put", full)
    everything = np.ones((3000, 100), bool)
    with pytest.raises(SaveError):
        store.write(2, (), (0, 0, 3000, 100), everything, overwrite=True)
    assert store.labels == tuple(np.unique(store.read())[1:] if fails == 2 else (1,)) == (fails,)
    store.write(2, (), (0, 0, 3000, 100), everything, overwrite=True)
    assert store.labels == (2,)
    assert len(store.traces_of(2)) == 1  # the same write, made good


def test_no_tile_is_read_for_each_object(monkeypatch: pytest.MonkeyPatch) -> None:
    store = LabelStore((1100, 1100))
    tops = range(0, 1100, 100)
    for label, (top, left) in enumerate(((t, s) for t in tops for s in tops), start=1):
        store.write(label, (), (top, left, top + 50, left + 50), np.ones((50, 50), bool))
    reads, read = [], store.read
    monkeypatch.setattr(store, "read", lambda *args: reads.append(args) or read(*args))
    half = np.ones((1100, 1100), bool)
    half[:, 500:] = False
    store.write(500, (), (0, 0, 1100, 1100), half, overwrite=True)
    assert len(reads) <= 8  # four tiles, once to write and once to look
    assert store.labels == (*(label for label in range(1, 122) if (label - 1) % 11 >= 5), 500)
