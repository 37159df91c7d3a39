"""An image that is damaged after a run: what is finished stays, and a resume goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr
from run_fakes import GreyPredictor, blobs, sparse

from napari_iseg.fewshot.propagate import propagate
from napari_iseg.labels.store import LabelStore


def test_a_slice_that_was_finished_before_is_kept(tmp_path: Path) -> None:
    volume, truth = blobs()
    array = zarr.create_array(tmp_path / "v.zarr", shape=volume.shape, chunks=(1, 24, 24), dtype="uint8")
    array[...] = volume
    out, labels = tmp_path / "rest.zarr", sparse(truth, 2)
    propagate(array, labels, out, GreyPredictor())
    (tmp_path / "v.zarr" / "c" / "3" / "0" / "0").write_bytes(b"broken")
    again = zarr.open_array(tmp_path / "v.zarr", mode="r")
    assert propagate(again, labels, out, GreyPredictor(), existing="resume").computed == 0
    np.testing.assert_array_equal(np.asarray(LabelStore.open(out).levels[0]), truth)
