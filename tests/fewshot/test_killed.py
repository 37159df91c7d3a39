"""A run that is killed without warning, again and again, ends with the same bits."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_fakes import files_of

SCRIPT = Path(__file__).with_name("run_script.py")


def run(out: Path, log: Path, slow: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(out), str(log), str(slow)], stderr=subprocess.PIPE
    )


def lines(log: Path) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.mark.timeout(280)
def test_killed_anywhere_is_bit_equal_to_never_killed_and_nothing_is_done_twice(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    never, log = tmp_path / "a" / "rest.zarr", tmp_path / "log"
    assert run(never, tmp_path / "other", 0).wait() == 0
    out, killed = tmp_path / "b" / "rest.zarr", 0
    while True:
        before = lines(log)
        process = run(out, log, 0.05)
        while process.poll() is None and lines(log) < before + 6 + killed:
            time.sleep(0.005)
        if process.poll() is not None:
            assert process.returncode == 0, process.stderr.read().decode() if process.stderr else ""
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed += 1
    assert killed >= 2
    assert files_of(out) == files_of(never)
    once = lines(tmp_path / "other")
    assert lines(log) <= once + killed  # what was being computed when it was killed, and nothing else
