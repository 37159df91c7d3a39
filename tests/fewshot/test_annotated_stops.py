"""Looking for labels ends soon after it is cancelled, also where nothing is found for long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_iseg.fewshot.annotated import occupied
from napari_iseg.fewshot.frame import Frame


class Counted:
    """Labels that are read until somebody has had enough."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.dtype, self.reads = shape, np.dtype(np.uint8), 0

    def __getitem__(self, box: tuple[int | slice, ...]) -> Any:
        self.reads += 1
        part = [
            range(*one.indices(n)) for one, n in zip(box, self.shape, strict=True) if isinstance(one, slice)
        ]
        return np.zeros([len(one) for one in part], np.uint8)


@pytest.mark.parametrize(
    ("shape", "planes"), [((200, 8, 2050), None), ((8, 5000), None), ((9, 8, 8), [(z,) for z in range(9)])]
)
def test_empty_labels_are_read_no_further(shape: tuple[int, ...], planes: Any) -> None:
    labels, frame = Counted(shape), Frame.of(shape)
    assert not list(occupied(labels, frame, planes))
    assert labels.reads > 3
    labels.reads = 0
    assert not list(occupied(labels, frame, planes, lambda: labels.reads >= 2))
    assert labels.reads == 2


def test_chunks_on_disk_are_read_no_further(tmp_path: Path) -> None:
    labels = zarr.create_array(tmp_path / "labels.zarr", shape=(6, 8, 8), chunks=(1, 8, 8), dtype="u1")
    labels[:] = 1
    asked: list[int] = []
    frame = Frame.of(labels.shape)

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > 2

    assert [plane for plane, _ in occupied(labels, frame, None, cancelled)] == [(0,), (1,)]
