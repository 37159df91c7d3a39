"""One run at a time works on an output, and one that is killed before it can start takes nothing with it."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from run_fakes import GreyPredictor, blobs, sparse

from napari_iseg import files
from napari_iseg.errors import InputError, SaveError
from napari_iseg.fewshot import room
from napari_iseg.fewshot.decisions import Decisions
from napari_iseg.fewshot.preparing import run_folder
from napari_iseg.fewshot.propagate import propagate
from napari_iseg.labels.store import LabelStore

VOLUME, TRUTH = blobs()
LABELS = sparse(TRUTH, 2)


def result(out: Path) -> np.ndarray:
    return np.asarray(LabelStore.open(out).levels[0][...])


def test_a_second_run_on_an_output_is_refused_and_the_first_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_PATIENCE", 0.0)
    out, refusals = tmp_path / "rest.zarr", []

    def second(_event: object) -> None:
        if not refusals:
            for existing in ("resume", "overwrite"):
                with pytest.raises(InputError, match=r"Another run is at work on .*rest\.zarr; wait until"):
                    propagate(VOLUME, LABELS, out, GreyPredictor(), existing=existing)
                refusals.append(existing)

    propagate(VOLUME, LABELS, out, GreyPredictor(), listener=second)
    assert len(refusals) == 2
    assert np.array_equal(result(out), TRUTH)
    propagate(VOLUME, LABELS, out, GreyPredictor(), existing="overwrite")


KILLED = """
import os, sys
import numpy as np
from run_fakes import GreyPredictor, blobs, sparse
from napari_iseg.fewshot import preparing
from napari_iseg.fewshot.propagate import propagate

preparing.{step} = lambda *_, **__: os._exit(9)
volume, truth = blobs()
propagate(volume, sparse(truth, 2), sys.argv[1], GreyPredictor(), existing="overwrite")
"""


@pytest.mark.parametrize("step", ["Record", "collect", "Plan", "Output"])
def test_killed_before_it_can_start_the_earlier_result_is_back_at_the_next_run(
    tmp_path: Path, step: str
) -> None:
    out = tmp_path / "rest.zarr"
    propagate(VOLUME, LABELS, out, GreyPredictor())
    Decisions(tmp_path / "rest.zarr.run").accept((3,))
    before = (tmp_path / "rest.zarr.run" / "journal.jsonl").read_bytes()
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    ended = subprocess.run(
        [sys.executable, "-c", KILLED.format(step=step), str(out)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 9, ended.stderr
    assert not out.exists()
    with pytest.raises(InputError, match="exists already"):
        propagate(VOLUME, LABELS, out, GreyPredictor())
    assert np.array_equal(result(out), TRUTH)
    assert (tmp_path / "rest.zarr.run" / "journal.jsonl").read_bytes() == before
    assert Decisions(tmp_path / "rest.zarr.run").accepted == {(3,)}
    assert not list(tmp_path.rglob("*.old*"))
    report = propagate(VOLUME, LABELS, out, GreyPredictor(), existing="resume")
    assert report.computed == 0


def test_what_a_run_on_another_machine_had_moved_away_is_back_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, folder = tmp_path / "rest.zarr", tmp_path / "rest.zarr.run"
    for name in ("0" * 8, files._machine()):  # that one's number of a process may be this one's
        LabelStore((8, 8), path=out)
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(files, "_machine", lambda name=name: name)
            out.rename(files.temporary_beside(out, "old"))
        room.put_back(out, folder)
        assert [path.name for path in tmp_path.iterdir()] == ["rest.zarr"]
        shutil.rmtree(out)


def test_of_a_link_what_it_names_is_overwritten_or_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, out = tmp_path / "disk" / "rest.zarr", tmp_path / "rest.zarr"
    real.parent.mkdir()
    out.symlink_to(real)
    propagate(VOLUME, LABELS, out, GreyPredictor())
    before = real.stat().st_ino
    with pytest.raises(InputError, match="annotated already"):
        propagate(VOLUME, LABELS, out, GreyPredictor(), existing="overwrite", planes=[2])
    assert real.stat().st_ino == before
    propagate(VOLUME, LABELS, out, GreyPredictor(), existing="overwrite")
    assert out.is_symlink()
    assert sorted(path.name for path in real.parent.iterdir()) == ["rest.zarr", "rest.zarr.run"]
    assert [path.name for path in tmp_path.iterdir() if path != real.parent] == ["rest.zarr"]
    assert real.stat().st_ino != before
    with monkeypatch.context() as elsewhere:  # another machine is killed before it can start
        elsewhere.setattr(files, "_machine", lambda: "0" * 8)
        real.rename(files.temporary_beside(out, "old"))
    room.put_back(out, run_folder(out))
    assert sorted(path.name for path in real.parent.iterdir()) == ["rest.zarr", "rest.zarr.run"]
    assert np.array_equal(result(out), TRUTH)


def test_what_cannot_be_put_back_is_told_with_its_place_and_back_at_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "rest.zarr"
    propagate(VOLUME, LABELS, out, GreyPredictor())
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if target.name == out.name:
            raise PermissionError(13, "Access is denied")
        return real(self, target)

    with monkeypatch.context() as held:
        held.setattr(Path, "rename", rename)
        with pytest.raises(
            SaveError, match=r"put back \(Access is denied\): it is \S+rest\S+\.old\.zarr now"
        ):
            propagate(VOLUME, LABELS, out, GreyPredictor(), existing="overwrite", planes=[2])
    assert not out.exists()
    assert propagate(VOLUME, LABELS, out, GreyPredictor(), existing="resume").computed == 0


def test_a_result_that_is_put_back_outlives_a_resumed_run_that_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Local(GreyPredictor):
        """Cannot be handed to another process."""

    out = tmp_path / "rest.zarr"
    propagate(VOLUME, LABELS, out, GreyPredictor())
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(files, "_machine", lambda: "0" * 8)
        out.rename(files.temporary_beside(out, "old"))
    with pytest.raises(InputError, match="cannot be handed"):
        propagate(VOLUME, LABELS, out, Local(), existing="resume", workers=2)
    assert np.array_equal(result(out), TRUTH)


def test_one_that_waits_begins_when_the_other_is_refused_and_takes_its_folder_away(tmp_path: Path) -> None:
    out, folder = tmp_path / "rest.zarr", tmp_path / "rest.zarr.run"
    first = room.Hold(out, folder)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(room.Hold, out, folder)
        time.sleep(0.3)
        first.release()
        hold = second.result()
    assert (folder / ".lock").exists()
    hold.release()
    assert not folder.exists()


def test_a_folder_without_a_record_makes_no_output_a_run_s_own(tmp_path: Path) -> None:
    out, folder = tmp_path / "rest.zarr", tmp_path / "rest.zarr.run"
    folder.mkdir()
    (folder / ".lock").touch()  # of one that was killed while it prepared
    LabelStore(VOLUME.shape, path=out)
    with pytest.raises(InputError, match="not made by a run whose record is here"):
        propagate(VOLUME, LABELS, out, GreyPredictor(), existing="resume")


def test_a_file_system_without_locks_takes_runs_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    room.Hold(tmp_path / "rest.zarr", tmp_path / "rest.zarr.run").release()
    assert list(tmp_path.iterdir()) == []
