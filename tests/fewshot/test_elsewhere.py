"""The same run in several processes and on a Dask cluster, with workers that die."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import zarr
from run_fakes import GreyPredictor, blobs, files_of, sparse

from napari_iseg.errors import IncompleteError, InputError
from napari_iseg.fewshot.propagate import propagate

OPTIONS = {"tile": 16, "halo": 2, "probability": True}


@pytest.fixture
def volume_file(tmp_path: Path) -> zarr.Array:
    volume, _ = blobs()
    array = zarr.create_array(
        tmp_path / "volume.zarr", shape=volume.shape, dtype=volume.dtype, chunks=(1, 24, 24)
    )
    array[...] = volume
    return array


@pytest.fixture
def here(tmp_path: Path, volume_file: zarr.Array) -> dict[str, bytes]:
    """The files of the run in this process."""
    _, truth = blobs()
    (tmp_path / "here").mkdir()
    out = tmp_path / "here" / "rest.zarr"
    propagate(volume_file, sparse(truth, 2), out, GreyPredictor(smear=True), **OPTIONS)
    return files_of(out)


def test_two_processes_one_of_which_dies(
    tmp_path: Path, volume_file: zarr.Array, here: dict[str, bytes]
) -> None:
    _, truth = blobs()
    fake = GreyPredictor(smear=True, die_once=tmp_path / "died", log=tmp_path / "log")
    propagate(volume_file, sparse(truth, 2), tmp_path / "rest.zarr", fake, workers=2, **OPTIONS)
    assert (tmp_path / "died").exists()
    assert files_of(tmp_path / "rest.zarr") == here
    assert len({line.split()[0] for line in (tmp_path / "log").read_text().splitlines()}) >= 2


def test_what_cannot_be_handed_over_is_refused(tmp_path: Path) -> None:
    volume, truth = blobs()
    fake = GreyPredictor(log=partial(print))  # type: ignore[arg-type]
    fake.log = lambda: None  # type: ignore[assignment]
    with pytest.raises(InputError, match="cannot be handed to another process"):
        propagate(volume, sparse(truth, 2), tmp_path / "rest.zarr", fake, workers=2)


def test_a_dask_cluster_that_loses_a_worker(
    tmp_path: Path, volume_file: zarr.Array, here: dict[str, bytes]
) -> None:
    from distributed import LocalCluster

    _, truth = blobs()
    fake = GreyPredictor(smear=True, die_once=tmp_path / "died", log=tmp_path / "log")
    folder = str(tmp_path / "dask")
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, local_directory=folder
    ) as cluster:
        propagate(
            volume_file,
            sparse(truth, 2),
            tmp_path / "rest.zarr",
            fake,
            scheduler=cluster.scheduler_address,
            **OPTIONS,
        )
    assert (tmp_path / "died").exists()
    assert files_of(tmp_path / "rest.zarr") == here
    assert len({line.split()[0] for line in (tmp_path / "log").read_text().splitlines()}) >= 2


def test_a_scheduler_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_iseg.fewshot.cluster._TIMEOUT", 1)
    volume, truth = blobs()
    with pytest.raises(InputError, match=r"No Dask scheduler answers at tcp://127.0.0.1:9"):
        propagate(
            volume, sparse(truth, 2), tmp_path / "a.zarr", GreyPredictor(), scheduler="tcp://127.0.0.1:9"
        )


def test_units_that_fail_on_other_processes_are_named(tmp_path: Path, volume_file: zarr.Array) -> None:
    _, truth = blobs()
    with pytest.raises(IncompleteError, match="plane 4"):
        propagate(
            volume_file, sparse(truth, 2), tmp_path / "a.zarr", GreyPredictor(fail_at=(4.0,)), workers=2
        )
    assert np.asarray(zarr.open_array(tmp_path / "a.zarr" / "0", mode="r"))[3].any()
