"""What ``napari-iseg propagate`` warns of is one line on standard error, and the run goes on."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_iseg.cli.propagate import _in_plain_words

sys.path.insert(0, str(Path(__file__).parents[1] / "fewshot"))

from run_fakes import GreyPredictor, blobs, sparse

VOLUME, TRUTH = blobs()


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    """A stack, its annotation and where the result goes; every few-shot model is the fake one."""
    monkeypatch.setattr("napari_iseg.fewshot.predictors._load", lambda *_: GreyPredictor())
    stack, some = tmp_path / "stack.tif", tmp_path / "some.tif"
    tifffile.imwrite(stack, VOLUME, photometric="minisblack")
    tifffile.imwrite(some, sparse(TRUTH, 2).astype(np.uint16), photometric="minisblack")
    return stack, some, tmp_path / "rest.zarr"


def test_labels_without_background(run: Callable[..., Any], given: tuple[Path, Path, Path]) -> None:
    ended = run("propagate", *given, "--partial", "--json")
    assert ended.code == 0, ended.err
    assert ended.json["units"] == 5
    (line,) = ended.err.splitlines()
    assert line.startswith(
        "Nothing is known to be background, so everything may be marked; annotate one area"
    )
    again = run("propagate", *given, "--partial", "--resume")
    assert again.err == ended.err, "said of every run"
    assert not run("propagate", *given, "--overwrite").err


def test_warnings_of_others_are_shown_as_ever() -> None:
    with pytest.warns(UserWarning, match="of another"), _in_plain_words():
        warnings.warn("of another", stacklevel=1)
    with pytest.warns(UserWarning, match="after"):
        warnings.warn("after", stacklevel=1)
