"""A run that is refused before it has found anything leaves no layer, and what it would have replaced."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest

from napari_iseg.errors import InputError
from napari_iseg.fewshot.preparing import run_folder
from napari_iseg.labels.store import LabelStore

from .fewshot_bench import TRUTH, sparse

ONE = sparse(TRUTH, 0).astype(np.uint8)


@pytest.fixture(autouse=True)
def said(monkeypatch: Any) -> list[str]:
    words: list[str] = []
    monkeypatch.setattr("napari_iseg.widgets.reports.warn", words.append)
    return words


def refuse(*_args: Any, **_options: Any) -> None:
    raise InputError("refused")


def test_what_a_refused_run_would_have_replaced_is_back(fewshot: Any, monkeypatch: Any) -> None:
    dock = fewshot.open(labels=ONE)
    fewshot.run()
    out = dock.controller.results.output.path
    before = np.asarray(LabelStore.open(out).levels[0])
    shutil.rmtree(run_folder(out))  # so that it is nobody's any more
    with monkeypatch.context() as refusing:
        refusing.setattr(fewshot.fake, "predict_unit", refuse)
        dock.run_button.click()
        fewshot.settle()
    assert np.array_equal(np.asarray(LabelStore.open(out).levels[0]), before)
    assert (dock.controller.results, dock.controller.report) == (None, None)
    assert not dock.save_button.isEnabled()
    fewshot.run()
    assert np.array_equal(fewshot.result, before)


def test_a_first_run_that_is_refused_leaves_no_layer(fewshot: Any, monkeypatch: Any) -> None:
    dock = fewshot.open(labels=ONE)
    layers = list(fewshot.viewer.layers)
    with monkeypatch.context() as refusing:
        refusing.setattr(fewshot.fake, "predict_unit", refuse)
        dock.run_button.click()
        fewshot.settle()
    assert list(fewshot.viewer.layers) == layers
    fewshot.run()
    assert fewshot.result[2:].any()
