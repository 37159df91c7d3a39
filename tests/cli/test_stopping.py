"""Ctrl-C and SIGTERM: one sentence, the exit codes of the shell, and what can be gone on with is said."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import tifffile

from napari_iseg.errors import InputError

sys.path.insert(0, str(Path(__file__).parents[1] / "fewshot"))

from run_fakes import GreyPredictor, blobs, sparse

RECIPE = Path(__file__).parents[2] / "recipes" / "cfr-icl-starter-stage1.toml"


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM ends a process there, whatever it says")
@pytest.mark.parametrize("ctrl_c", [signal.default_int_handler, signal.SIG_IGN], ids=["heard", "ignored"])
def test_sigterm_is_like_ctrl_c(run, monkeypatch, ctrl_c):
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, ctrl_c)
    monkeypatch.setattr("napari_iseg.images.files.open_image", lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        ended = run("segment", "x.tif", "--click", "1,2")
    finally:
        signal.signal(signal.SIGINT, before)
    assert (ended.code, ended.out, ended.err) == (143, "", "napari-iseg: Stopped.\n")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_ctrl_c_while_python_reads_our_files(run, monkeypatch):
    def pressed(_name):
        raise KeyboardInterrupt

    slow = ModuleType("napari_iseg.cli.app")
    slow.__getattr__ = pressed  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "napari_iseg.cli.app", slow)
    ended = run("--version")
    assert (ended.code, ended.err) == (130, "napari-iseg: Stopped.\n")
    code = "import sys, napari_iseg.cli; print(*{'typer', 'rich', 'numpy'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "\n", "what is loaded before Ctrl-C is heard"


def test_a_run_that_was_stopped_says_how_it_goes_on(run, tmp_path, monkeypatch):
    volume, truth = blobs()
    stack, some, out = tmp_path / "stack.tif", tmp_path / "some.tif", tmp_path / "rest.zarr"
    tifffile.imwrite(stack, volume, photometric="minisblack")
    tifffile.imwrite(some, sparse(truth, 2).astype(np.uint16), photometric="minisblack")
    monkeypatch.setattr("napari_iseg.fewshot.predictors._load", lambda *_: GreyPredictor())
    with monkeypatch.context() as interrupted:
        interrupted.setattr("napari_iseg.cli.propagate._Bar.__call__", _pressed_at_the_first_prediction)
        ended = run("propagate", stack, some, out)
    assert ended.code == 130
    assert ended.err == f"napari-iseg: Stopped; with --resume it goes on where {out} is now.\n"
    assert run("propagate", stack, some, out, "--resume", "--json").json["kept"]
    monkeypatch.setattr("napari_iseg.images.files.open_image", _pressed)
    assert run("propagate", stack, some, out, "--resume").err == "napari-iseg: Stopped.\n"


@pytest.mark.skipif(not RECIPE.exists(), reason="recipes are in the repository")
def test_training_says_it_too_and_draws_no_bar_in_a_log(run, tmp_path, monkeypatch):
    pytest.importorskip("lightning_fabric")

    def stopped(_plan, folder, _data, *, on_step, **_):
        on_step(SimpleNamespace(step=1, loss=0.5, scores={"score": 0.25}))
        folder.mkdir()
        (folder / "last.ckpt").touch()
        raise KeyboardInterrupt

    def refused(*_, **__):
        raise InputError("There are no data.")

    monkeypatch.setattr("napari_iseg.training.run.train", refused)
    assert run("train", RECIPE, "--out", tmp_path / "run").err == "napari-iseg: There are no data.\n"
    monkeypatch.setattr("napari_iseg.training.run.train", stopped)
    ended = run("train", RECIPE, "--out", tmp_path / "run")
    assert ended.code == 130
    assert ended.err.splitlines() == [
        "step 1: score 0.250",
        f"napari-iseg: Stopped; the same command goes on with the steps kept in {tmp_path / 'run'}.",
    ]


def _pressed_at_the_first_prediction(_bar: object, entry: object) -> None:
    if not getattr(entry, "annotated", True):
        raise KeyboardInterrupt


def _pressed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt
