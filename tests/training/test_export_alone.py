"""Exported weights say in their header what they are: readable without the card, unchanged by an import."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_run import TINY, rectangles

from napari_iseg.training.run import train
from napari_iseg.weights.importer import import_file
from napari_iseg.weights.store import Store, load_model


@pytest.mark.parametrize("variant", [TINY.variant, "starter"], ids=["table", "name"])
def test_weights_are_read_without_their_card_and_keep_their_sha256(
    tmp_path: Path, variant: str | dict[str, object]
) -> None:
    once = replace(TINY, variant=variant, optim=replace(TINY.optim, steps=1))
    card = train(once, tmp_path / "run", rectangles(tmp_path, 64, 8))
    assert card.folder is not None
    imported = import_file(card.folder / card.weights, store=Store(tmp_path / "home"))
    assert imported.sha256 == card.sha256
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((card.folder / "model.safetensors").read_bytes())
    found = load_model(str(alone), device="cpu").card
    assert (found.backend, found.variant, found.names) == (card.backend, card.variant, "own")
