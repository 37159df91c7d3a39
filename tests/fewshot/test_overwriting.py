"""What a run overwrites is there until it has predicted something, and back when it is refused before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from run_fakes import GreyPredictor, blobs, files_of, sparse

from napari_iseg.errors import IncompleteError, InputError, SaveError
from napari_iseg.fewshot.control import Control
from napari_iseg.fewshot.preparing import run_folder
from napari_iseg.fewshot.propagate import propagate

VOLUME, TRUTH = blobs()


class Refusing(GreyPredictor):
    """Refuses what it is asked; it cannot be handed to another process either."""

    def predict_unit(self, *_args: Any, **_options: Any) -> Any:
        raise InputError("refused")

    def __reduce__(self) -> Any:
        raise TypeError("not to be handed over")


class Failing(GreyPredictor):
    """Fails wherever it is asked."""

    def predict_unit(self, *_args: Any, **_options: Any) -> Any:
        raise ValueError("failed")


@pytest.mark.parametrize("annotated", [0, 2])  # 0: what is annotated is done first
@pytest.mark.parametrize(
    ("options", "sentence"), [({}, "refused"), ({"workers": 2}, "cannot be handed")], ids=["unit", "start"]
)
def test_a_result_is_back_when_the_run_that_overwrites_it_is_refused(
    tmp_path: Path, options: dict[str, Any], sentence: str, annotated: int
) -> None:
    out = tmp_path / "rest.zarr"
    propagate(VOLUME, sparse(TRUTH, 1), out, GreyPredictor())
    before = files_of(tmp_path)
    labels = sparse(TRUTH, annotated)
    with pytest.raises(InputError, match=sentence):
        propagate(VOLUME, labels, out, Refusing(), existing="overwrite", **options)
    assert files_of(tmp_path) == before
    assert propagate(VOLUME, sparse(TRUTH, 1), out, GreyPredictor(), existing="resume").computed == 0


@pytest.mark.parametrize("annotated", [0, 2])
def test_a_run_that_is_refused_at_its_first_prediction_leaves_nothing(tmp_path: Path, annotated: int) -> None:
    with pytest.raises(InputError, match="refused"):
        propagate(VOLUME, sparse(TRUTH, annotated), tmp_path / "rest.zarr", Refusing())
    assert not list(tmp_path.iterdir())


def test_what_is_overwritten_goes_with_the_first_prediction(tmp_path: Path) -> None:
    out, there = tmp_path / "rest.zarr", []
    propagate(VOLUME, sparse(TRUTH, 1), out, GreyPredictor())

    def listen(_event: object) -> None:
        there.append(len(list(tmp_path.rglob(".*.old*"))))
        if len(there) == 6:
            raise RuntimeError("of the listener")

    with pytest.raises(RuntimeError, match="of the listener"):
        propagate(VOLUME, sparse(TRUTH, 2), out, GreyPredictor(), existing="overwrite", listener=listen)
    assert there[0] > 0
    assert there[-1] == 0
    assert propagate(VOLUME, sparse(TRUTH, 2), out, GreyPredictor(), existing="resume").kept > 0


def test_what_is_taken_back_goes_before_another_run_may_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_iseg.fewshot.room import Hold

    out, real, left = tmp_path / "rest.zarr", Hold.release, []

    def release(self: Hold) -> None:
        left.extend(path.name for path in (out, *run_folder(out).iterdir()) if path.exists())
        real(self)

    monkeypatch.setattr(Hold, "release", release)
    with pytest.raises(InputError, match="refused"):
        propagate(VOLUME, sparse(TRUTH, 2), out, Refusing())
    assert left == [".lock"]


def test_where_a_link_names_the_output_that_folder_must_take_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "here").mkdir()
    out = tmp_path / "here" / "rest.zarr"
    out.symlink_to(tmp_path / "disk" / "rest.zarr")
    closed = tmp_path / "here"
    monkeypatch.setattr(os, "access", lambda folder, _mode: Path(folder) != closed)
    propagate(VOLUME, sparse(TRUTH, 2), out, GreyPredictor())
    closed = tmp_path / "disk"
    with pytest.raises(SaveError, match=r"disk cannot be written to; choose another place for rest\.zarr"):
        propagate(VOLUME, sparse(TRUTH, 2), out, GreyPredictor(), existing="resume")
    out.unlink()
    out.symlink_to(tmp_path / "gone" / "rest.zarr")
    with pytest.raises(SaveError, match=r"The folder \S+gone for rest\.zarr does not exist"):
        propagate(VOLUME, sparse(TRUTH, 2), out, GreyPredictor())


@pytest.mark.parametrize("how", ["cancelled", "failed"])
def test_a_run_that_predicts_nothing_replaces_nothing(tmp_path: Path, how: str) -> None:
    out, control = tmp_path / "rest.zarr", Control()
    propagate(VOLUME, sparse(TRUTH, 1), out, GreyPredictor())
    before = files_of(tmp_path)
    if how == "cancelled":
        control.cancel()
        propagate(VOLUME, sparse(TRUTH, 2), out, GreyPredictor(), existing="overwrite", control=control)
    else:
        with pytest.raises(IncompleteError):
            propagate(VOLUME, sparse(TRUTH, 2), out, Failing(), existing="overwrite")
    assert files_of(tmp_path) == before


def test_a_cancelled_run_that_replaces_nothing_keeps_its_output(tmp_path: Path) -> None:
    out, control = tmp_path / "rest.zarr", Control()
    control.cancel()
    propagate(VOLUME, sparse(TRUTH, 2), out, GreyPredictor(), control=control)
    assert propagate(VOLUME, sparse(TRUTH, 2), out, GreyPredictor(), existing="resume").computed


KILLED = """
import os, signal, sys
from run_fakes import GreyPredictor, blobs, sparse
from napari_iseg.fewshot.propagate import propagate

class Killed(GreyPredictor):
    def predict_unit(self, *_args, **_options):
        os._exit(9)

volume, truth = blobs()
propagate(volume, sparse(truth, 2), sys.argv[1], Killed(), existing="overwrite")
"""


def test_killed_in_its_first_prediction_the_earlier_result_is_back_at_the_next_run(tmp_path: Path) -> None:
    out = tmp_path / "rest.zarr"
    propagate(VOLUME, sparse(TRUTH, 1), out, GreyPredictor())
    before = files_of(tmp_path)
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(out)], env={**os.environ, "PYTHONPATH": paths}, check=False
    )
    assert ended.returncode == 9
    assert out.exists()
    assert propagate(VOLUME, sparse(TRUTH, 1), out, GreyPredictor(), existing="resume").computed == 0
    assert files_of(tmp_path) == before
