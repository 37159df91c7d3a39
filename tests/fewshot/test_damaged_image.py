"""A damaged chunk of an image whose intensities are learned from its pixels costs its own slice only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from run_fakes import GreyPredictor, blobs, sparse

from napari_iseg.errors import IncompleteError
from napari_iseg.fewshot.propagate import propagate
from napari_iseg.labels.store import LabelStore


def test_of_16_bits_too(tmp_path: Path) -> None:
    volume, truth = blobs()
    array = zarr.create_array(tmp_path / "v.zarr", shape=volume.shape, chunks=(1, 24, 24), dtype="uint16")
    array[...] = volume
    (tmp_path / "v.zarr" / "c" / "3" / "0" / "0").write_bytes(b"broken")
    out = tmp_path / "rest.zarr"
    with pytest.raises(
        IncompleteError, match=r"1 of 5 units .* plane 3 \(.*v\.zarr could not be read as an image"
    ):
        propagate(array, sparse(truth, 2), out, GreyPredictor())
    found = np.asarray(LabelStore.open(out).levels[0])
    assert np.array_equal(found[[0, 1, 2, 4]], truth[[0, 1, 2, 4]])
