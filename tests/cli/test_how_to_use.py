"""What `train` says at its end fits what the trained network is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_iseg.backends.cards import ModelCard
from napari_iseg.cli.train import _how_to_use


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        ("cfr-icl", "segment --model runs/x"),
        ("sam", "segment --model runs/x"),
        ("is5net", "--refine-edges"),
        ("is5net-gt-encoder", "[loss] guide = 'runs/x'"),
        ("thin", "[inference] thin = 'runs/x'"),
        ("small", "[inference] small = 'runs/x'"),
    ],
)
def test_each_role_has_its_way(backend, words) -> None:
    said = _how_to_use(ModelCard("x", backend, "starter", folder=Path("runs/x")))
    assert words in said
    assert ("segment --model" in said) == (backend in ("cfr-icl", "sam"))
