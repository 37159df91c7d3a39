"""The background thread of a dock."""

from __future__ import annotations

import subprocess
import sys

from .conftest import NO_WINDOW

if NO_WINDOW is None:
    from napari_iseg.widgets.worker import Worker


def test_work_that_wants_to_exit_is_an_error_and_the_next_is_done(qtbot):
    worker, done, failed = Worker(), [], []

    def leave(_cancelled):
        raise SystemExit(1)

    worker.submit_task(leave, done.append, failed.append)
    worker.submit_task(lambda _cancelled: 42, done.append, failed.append)
    qtbot.waitUntil(lambda: not worker.busy, timeout=10_000)
    worker.close()
    assert worker.join(10)
    assert done == [42]
    assert [type(error) for error in failed] == [RuntimeError]
    assert "SystemExit(1)" in str(failed[0])


LEAVES = """
import sys, threading
from qtpy.QtWidgets import QApplication
from napari_iseg.widgets.worker import Worker
app, worker, begun = QApplication([]), Worker(), threading.Event()

def predict(cancelled):
    begun.set()
    for _ in range(600):
        if cancelled():
            print("cancelled", flush=True)
            return
        threading.Event().wait(0.1)

worker.submit_newest(predict, print, print)
begun.wait()
"""


def test_an_interpreter_that_ends_without_closing_does_not_wait_for_a_prediction():
    ended = subprocess.run([sys.executable, "-c", LEAVES], capture_output=True, text=True, timeout=50)
    assert (ended.stdout, ended.returncode) == ("cancelled\n", 0), ended.stderr
