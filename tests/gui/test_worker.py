"""The background thread of a dock."""

from __future__ import annotations

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
