"""A run with nothing to predict: it completes a result, and begins none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from run_fakes import GreyPredictor, blobs, sparse

from napari_iseg.errors import InputError
from napari_iseg.fewshot.propagate import propagate
from napari_iseg.labels.store import LabelStore

VOLUME, TRUTH = blobs()


def test_a_result_gets_the_last_annotated_slice_when_it_is_resumed(tmp_path: Path) -> None:
    out = tmp_path / "rest.zarr"
    propagate(VOLUME, sparse(TRUTH, 0, 1, 2, 4), out, GreyPredictor())
    labels = TRUTH.copy()
    labels[3, 0, 0] = 2
    report = propagate(VOLUME, labels, out, GreyPredictor(), existing="resume")
    assert (report.units, report.kept, report.next, report.trust) == (5, 4, None, 1.0)
    np.testing.assert_array_equal(LabelStore.open(out).levels[0][:], labels)
    with pytest.raises(InputError, match="annotated already"):
        propagate(VOLUME, labels, out, GreyPredictor(), existing="overwrite")
    np.testing.assert_array_equal(LabelStore.open(out).levels[0][:], labels)


def test_a_result_that_is_not_there_is_not_begun(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="annotated already"):
        propagate(VOLUME, TRUTH, tmp_path / "rest.zarr", GreyPredictor(), existing="resume")
    assert not list(tmp_path.iterdir())
