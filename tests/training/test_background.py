"""A training in the background of a script, where shells turn Ctrl-C off: SIGTERM still keeps the steps."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_run import TINY, rectangles

from napari_iseg.cli.stopping import like_ctrl_c
from napari_iseg.training.interrupt import ctrl_c_noted
from napari_iseg.training.log import Progress
from napari_iseg.training.run import train

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM ends a process there at once")


@pytest.fixture(autouse=True)
def background() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


def test_sigterm_ends_the_step_and_keeps_it(tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.step == 1:
            signal.raise_signal(signal.SIGTERM)

    with like_ctrl_c() as terminated, pytest.raises(KeyboardInterrupt):
        train(TINY, tmp_path / "run", rectangles(tmp_path, 64, 8), on_step=stop)
    assert terminated()
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["step"] == 1
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_ctrl_c_stays_ignored() -> None:
    with ctrl_c_noted() as asked:
        signal.raise_signal(signal.SIGINT)
        assert not asked()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
