"""A run that goes on with another image than it was begun with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from run_fakes import CopyFirst, GreyPredictor, blobs, files_of, sparse

from napari_iseg.fewshot import pixels
from napari_iseg.fewshot.feature_cache import content_key
from napari_iseg.fewshot.pixels import sample_of
from napari_iseg.fewshot.propagate import RunReport, propagate
from napari_iseg.images import PlaneSource
from napari_iseg.labels.journal import Journal, encode
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Window

VOLUME, TRUTH = blobs()
OTHER = VOLUME.copy()
OTHER[4] = VOLUME[4, ::-1]


def run(volume: object, out: Path, fake: object = None, **options: object) -> RunReport:
    labels = sparse(TRUTH, 0)
    return propagate(volume, labels, out, fake or GreyPredictor(), existing="resume", **options)


@pytest.mark.parametrize("options", [{}, {"tile": 16, "halo": 2}, {"sequential": True}, {"batch": 3}])
def test_a_resume_on_other_pixels_is_equal_to_a_run_on_them(tmp_path: Path, options: dict) -> None:
    out = tmp_path / "rest.zarr"
    run(VOLUME, out, **options)
    assert run(VOLUME.copy(), out, **options).computed == 0, "the same pixels in another array"
    assert run(OTHER, out, **options).computed > 0
    (tmp_path / "new").mkdir()
    run(OTHER, tmp_path / "new" / "rest.zarr", **options)
    assert files_of(out) == files_of(tmp_path / "new" / "rest.zarr")
    assert run(OTHER, out, **options).computed == 0


def test_a_method_that_looks_at_no_image_goes_on(tmp_path: Path) -> None:
    run(VOLUME, tmp_path / "rest.zarr", CopyFirst())
    assert run(OTHER, tmp_path / "rest.zarr", CopyFirst()).computed == 0


def test_a_record_without_pixels_is_taken_as_it_is(tmp_path: Path) -> None:
    out = tmp_path / "rest.zarr"
    run(VOLUME, out)
    file = tmp_path / "rest.zarr.run" / "journal.jsonl"
    journal = Journal(file)
    bodies = [{k: v for k, v in record.body.items() if k != "pixels"} for record in journal.records]
    journal.close()
    file.write_bytes(b"".join(encode(number, body) for number, body in enumerate(bodies, start=1)))
    assert "pixels" not in json.dumps(bodies)
    assert run(VOLUME, out).computed == 0
    assert LabelStore.open(out).levels[0][4].any()


def test_of_a_large_image_a_sample_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "_LOOKED_AT", 600)
    monkeypatch.setattr(pixels, "_LEAST_SIDE", 4)
    run(VOLUME, tmp_path / "rest.zarr")
    read, seen = PlaneSource.read, []

    def count(self: PlaneSource, window: Window, plane: tuple[int, ...] = (), scale: int = 1) -> np.ndarray:
        seen.append(window)
        return read(self, window, plane, scale)

    monkeypatch.setattr(PlaneSource, "read", count)
    assert run(VOLUME, tmp_path / "rest.zarr").computed == 0
    support, *samples = seen
    assert support.shape == VOLUME.shape[1:]
    assert len(samples) == 4, "each of the slices that were predicted"
    assert sum(window.height * window.width for window in samples) <= 600
    assert run(255 - OTHER, tmp_path / "rest.zarr").computed == 5


def test_slow_reading_ends_the_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "_FEWEST", 1)
    monkeypatch.setattr(pixels, "_SECONDS", 0.0)
    run(VOLUME, tmp_path / "rest.zarr")
    keys = []
    monkeypatch.setattr(pixels, "content_key", lambda image: keys.append(content_key(image)) or keys[-1])
    assert run(VOLUME, tmp_path / "rest.zarr").computed == 0
    assert len(keys) == 1


def test_samples_leave_no_part_of_a_plane_out() -> None:
    window, counts = Window(100, 200, 612, 712), (10_000, 1, 1)
    seen = np.zeros((512, 512), bool)
    for plane in range(1000):
        sample = sample_of(window, (plane, 0, 0), counts)
        assert sample.shape == (64, 64)
        seen[sample.top - 100 : sample.bottom - 100, sample.left - 200 : sample.right - 200] = True
    assert seen.mean() > 0.99
    assert sample_of(window, (3, 0, 0), (16, 1, 1)) == window, "a small image is compared whole"
