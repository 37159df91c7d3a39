"""Fixtures of the command line's tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from bright_model import bright_model

from napari_iseg.cli import main


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """``run("segment", path, ...)`` as typed at a prompt."""

    def command(*arguments: object) -> Ended:
        capfd.readouterr()
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capfd.readouterr()
        return Ended(code, out, err)

    return command


@pytest.fixture
def bright(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model is the fake one."""
    monkeypatch.setattr("napari_iseg.weights.store.load_model", bright_model)


@pytest.fixture
def squares() -> np.ndarray[Any, Any]:
    """Two bright squares and a grey one on black, (96, 128) uint8."""
    image = np.zeros((96, 128), np.uint8)
    image[20:40, 30:50] = 220
    image[60:80, 90:110] = 220
    image[60:80, 20:40] = 120
    image[5:9, 60:64] = 60
    return image


@pytest.fixture
def squares_file(tmp_path: Path, squares: np.ndarray[Any, Any]) -> Path:
    path = tmp_path / "squares.tif"
    tifffile.imwrite(path, squares)
    return path
