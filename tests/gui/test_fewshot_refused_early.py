"""A run that is refused before the viewer has heard that it began."""

from __future__ import annotations

import shutil
import threading
from typing import Any

import numpy as np
import pytest

from napari_iseg.errors import InputError
from napari_iseg.fewshot.preparing import Prepared, run_folder
from napari_iseg.labels.store import LabelStore

from .conftest import NO_WINDOW
from .fewshot_bench import TRUTH, sparse

if NO_WINDOW is None:
    from napari_iseg.widgets.fewshot_results import Results

ONE = sparse(TRUTH, 0).astype(np.uint8)


@pytest.fixture(autouse=True)
def said(monkeypatch: Any) -> list[str]:
    words: list[str] = []
    monkeypatch.setattr("napari_iseg.widgets.reports.warn", words.append)
    return words


def refuse(*_args: Any, **_options: Any) -> None:
    raise InputError("refused")


def run_refused(fewshot: Any, monkeypatch: Any) -> None:
    """A run that has given up before the GUI thread goes on."""
    over, leave = threading.Event(), Prepared.__exit__

    def left(self: Prepared, *error: Any) -> None:
        leave(self, *error)
        over.set()

    with monkeypatch.context() as refusing:
        refusing.setattr(fewshot.fake, "predict_unit", refuse)
        refusing.setattr(Prepared, "__exit__", left)
        fewshot.dock.run_button.click()
        assert over.wait(60)
        fewshot.settle()


def test_the_first_leaves_nothing(fewshot: Any, monkeypatch: Any, said: list[str]) -> None:
    dock = fewshot.open(labels=ONE)
    layers = list(fewshot.viewer.layers)
    run_refused(fewshot, monkeypatch)
    assert (list(fewshot.viewer.layers), list(fewshot.folder.rglob("*.zarr"))) == (layers, [])
    assert (said, dock.controller.results) == (["refused"], None)
    fewshot.run()
    assert fewshot.result[2:].any()


def test_what_it_would_have_replaced_is_back(fewshot: Any, monkeypatch: Any, said: list[str]) -> None:
    dock = fewshot.open(labels=ONE)
    fewshot.run()
    out = dock.controller.results.output.path
    before = np.asarray(LabelStore.open(out).levels[0])
    shutil.rmtree(run_folder(out))
    run_refused(fewshot, monkeypatch)
    assert np.array_equal(np.asarray(LabelStore.open(out).levels[0]), before)
    assert (said, dock.controller.results) == (["refused"], None)
    assert not dock.save_button.isEnabled()
    fewshot.run()
    assert np.array_equal(fewshot.result, before)


def test_one_that_is_gone_while_its_layer_is_made_leaves_none(fewshot: Any, monkeypatch: Any) -> None:
    dock = fewshot.open(labels=ONE)
    real = Results.of.__func__

    def late(kind: Any, viewer: Any, image: Any, prepared: Prepared) -> Any:
        shutil.rmtree(prepared.output.path, ignore_errors=True)  # or it was given up by now
        prepared.room.given_up = True
        return real(kind, viewer, image, prepared)

    monkeypatch.setattr(Results, "of", classmethod(late))
    monkeypatch.setattr(fewshot.fake, "predict_unit", refuse)
    dock.run_button.click()
    fewshot.settle()
    assert ([layer.name for layer in fewshot.viewer.layers], dock.controller.results) == (
        ["stack", "some"],
        None,
    )
