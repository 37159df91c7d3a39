"""The few-shot dock with an image of which one chunk is damaged."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from napari.utils.notifications import notification_manager

from napari_iseg.fewshot.frame import Frame
from napari_iseg.images import PlaneSource

from .conftest import NO_WINDOW
from .fewshot_bench import TRUTH, VOLUME, sparse

if NO_WINDOW is None:
    from napari_iseg.widgets.fewshot_outputs import digests_of
    from napari_iseg.widgets.fewshot_run import annotated_rows

FRAME = Frame.of(VOLUME.shape)


def damaged(path, dtype, plane=3):
    array = zarr.create_array(path, shape=VOLUME.shape, chunks=(1, *VOLUME.shape[1:]), dtype=dtype)
    array[...] = VOLUME
    (path / "c" / str(plane) / "0" / "0").write_bytes(b"broken")
    return zarr.open_array(path, mode="r")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_it_costs_its_own_slice_only(fewshot, tmp_path, dtype):
    dock = fewshot.open(damaged(tmp_path / "v.zarr", dtype), labels=sparse(TRUTH, 2).astype(np.uint8))
    fewshot.settle()
    assert dock.supports.count() == 1
    fewshot.run()
    said = notification_manager.records[-1].message
    assert said.startswith("1 slice failed, first plane 3: ")
    assert "v.zarr could not be read as an image" in said
    assert ".." not in said
    rest = [0, 1, 2, 4]
    np.testing.assert_array_equal(fewshot.result[rest], TRUTH[rest])


def test_a_slice_that_is_damaged_itself_is_listed_black(tmp_path):
    source = PlaneSource.wrap(damaged(tmp_path / "v.zarr", "uint8"), rgb=False)
    rows = annotated_rows(source, sparse(TRUTH, 2, 3), FRAME, lambda: False)
    assert [row.ref.key for row in rows] == ["2", "3"]
    assert rows[0].picture.any()
    assert not rows[1].picture[sparse(TRUTH, 3)[3] == 0].any()


def test_mended_it_is_another_image(tmp_path):
    whole = PlaneSource.wrap(VOLUME, rgb=False)
    one, other = (PlaneSource.wrap(damaged(tmp_path / f"{p}.zarr", "uint8", p), rgb=False) for p in (1, 3))
    assert len({digests_of(source, FRAME, 512) for source in (whole, one, other)}) == 3
