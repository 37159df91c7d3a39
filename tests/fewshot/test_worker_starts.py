"""How worker processes start: from scripts without a guard or a file, and when they die on the way."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_fakes import GreyPredictor, blobs, sparse

from napari_iseg.errors import InputError
from napari_iseg.fewshot.predictors import _given
from napari_iseg.fewshot.processes import Processes, serve
from napari_iseg.fewshot.propagate import propagate
from napari_iseg.fewshot.worker import Setup
from napari_iseg.images import PlaneSource

# Of an image in memory, which is more than a pipe holds: handing it over must not wait for a dead process.
SCRIPT = """
from run_fakes import GreyPredictor, blobs, sparse
from napari_iseg.fewshot.propagate import propagate
volume, truth = blobs(6, 120)
propagate(volume, sparse(truth, 2), "rest.zarr", GreyPredictor(), workers=2)
print("done")
"""


def run(tmp_path: Path, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, input=text, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=100
    )


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    ended = run(tmp_path, "script.py")
    assert ended.returncode == 1
    last = ended.stderr.strip().splitlines()[-1]
    assert "could not start" in last
    assert ended.stderr.count("Traceback") == 1, "the workers leave it to the run"
    assert '`if __name__ == "__main__":`' in last
    assert "Another run is at work" not in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["script.py"], "the mended script can run"


def test_a_worker_that_cannot_even_start_is_told_with_its_code_and_the_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"  # ends as one does that finds no memory for its libraries
    python.write_text("#!/bin/sh\nexit 127\n")
    python.chmod(0o755)
    monkeypatch.setattr("multiprocessing.spawn._python_exe", os.fsencode(python))
    with pytest.raises(
        InputError, match=r"on cpu ended with code 127 .*: memory ran out, or .*Free memory, or"
    ):
        Processes(setup_of(GreyPredictor(), tmp_path), ["cpu"])


def test_a_script_from_standard_input_works_with_models_of_modules(tmp_path: Path) -> None:
    own = """class Own(GreyPredictor): pass
try:
    propagate(volume, sparse(truth, 2), "own.zarr", Own(), workers=2)
except ValueError as error:
    print(error)
"""
    ended = run(tmp_path, "-", text=SCRIPT.replace("propagate(volume", own + "propagate(volume"))
    lines = ended.stdout.splitlines()
    assert lines[0].startswith("The image or model cannot be handed to another process"), ended.stderr
    assert lines[1:] == ["done"], ended.stderr
    assert not (tmp_path / "own.zarr").exists()


@dataclass
class Dying(GreyPredictor):
    """Ends the processes that get it, ``deaths`` times; ``count`` is a file with a mark for each."""

    count: Path | None = None
    deaths: int = 1

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        assert self.count is not None
        with self.count.open("ab") as file:
            file.write(b"x")
            file.flush()
            if file.tell() <= self.deaths:
                os._exit(9)


def setup_of(predictor: GreyPredictor, folder: Path) -> Setup:
    image = partial(PlaneSource.wrap, np.zeros((2, 8, 8), np.uint8))
    return Setup(image, partial(_given, predictor), (1,), {}, folder, 10**6, 10**6, 0)


def test_a_process_that_dies_while_it_starts_is_replaced(tmp_path: Path) -> None:
    processes = Processes(setup_of(Dying(count=tmp_path / "count"), tmp_path), ["auto"])
    processes.close()
    assert (tmp_path / "count").read_bytes() == b"xx"


def test_processes_that_always_die_at_their_start_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_iseg.fewshot.processes._STARTS", 2)
    setup = setup_of(Dying(count=tmp_path / "count", deaths=100), tmp_path)
    with pytest.raises(
        InputError, match=r"A worker process on cpu ended 2 times while it started, .* code 9 "
    ):
        Processes(setup, ["cpu"])
    assert (tmp_path / "count").read_bytes() == b"xx"


def test_a_process_of_a_pool_is_told_to_use_one_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)  # as a pool makes its own
    volume, truth = blobs(4, 60)
    with pytest.raises(InputError, match="use one worker"):
        propagate(volume, sparse(truth, 2), tmp_path / "rest.zarr", GreyPredictor(), workers=2)
    assert not list(tmp_path.iterdir())


def test_a_process_whose_run_has_ended_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    ours, theirs = multiprocessing.Pipe()
    ours.close()
    serve(theirs, "auto")
    assert capfd.readouterr().err == ""
