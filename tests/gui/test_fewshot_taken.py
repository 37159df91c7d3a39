"""Whether a result was made from some labels, by what its run has kept of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_iseg.fewshot.collect import collect
from napari_iseg.fewshot.decisions import Decisions
from napari_iseg.fewshot.frame import Frame, Grid
from napari_iseg.fewshot.support_store import SupportStore
from napari_iseg.images import PlaneSource
from napari_iseg.prompts import Click

from .conftest import NO_WINDOW
from .fewshot_bench import TRUTH, VOLUME, sparse

if NO_WINDOW is None:
    from napari_iseg.widgets.fewshot_taken import was_made_from

FRAME = Frame.of(VOLUME.shape, 0)
ONE, TWO = sparse(TRUTH == 1, 0).astype(np.uint8), 2 * sparse(TRUTH == 2, 2).astype(np.uint8)


def keep(run: Path, labels: Any, tile: int = 24, **given: Any) -> Any:
    """What a run with these labels keeps."""
    source, store = PlaneSource.wrap(VOLUME, rgb=False), SupportStore(run / "supports")
    return collect(source, labels, FRAME, Grid(FRAME.plane_shape, tile, 2), store, **given)


@pytest.mark.parametrize(("tile", "complete"), [(24, True), (24, False), (12, True)])
def test_the_same_labels_are_known_again_also_with_more_on_them(tmp_path, tile, complete):
    keep(tmp_path, ONE, tile, complete=complete)
    assert was_made_from(tmp_path, ONE, FRAME) is True
    assert was_made_from(tmp_path, np.maximum(ONE, TWO), FRAME) is True
    assert was_made_from(tmp_path, TWO, FRAME) is False
    assert was_made_from(tmp_path, np.zeros_like(ONE), FRAME) is False
    assert was_made_from(tmp_path, 2 * ONE, FRAME) is False, "another class at the same place"


def test_tiles_of_a_scene_are_known_again(tmp_path):
    scene, frame = VOLUME[0], Frame.of(VOLUME[0].shape, None)
    source, store = PlaneSource.wrap(scene, rgb=False), SupportStore(tmp_path / "supports")
    refs = collect(source, ONE[0], frame, Grid(frame.plane_shape, 12, 2), store)
    assert all("@" in ref.key for ref in refs)
    assert was_made_from(tmp_path, ONE[0], frame) is True
    assert was_made_from(tmp_path, TWO[2], frame) is False


def test_what_was_clicked_or_accepted_is_of_no_labels(tmp_path):
    keep(tmp_path, np.zeros_like(ONE), clicks={(3,): [(1, Click(6, 6, True))]})
    assert was_made_from(tmp_path, ONE, FRAME) is None
    keep(tmp_path, sparse(TRUTH == 1, 4).astype(np.uint8), accepted=[(4,)])
    Decisions(tmp_path).accept((4,))
    assert was_made_from(tmp_path, ONE, FRAME) is None


@pytest.mark.parametrize("limit", ["_MOST", "_PIXELS"])
def test_of_many_supports_those_that_came_first_or_last_are_read(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(
        f"napari_iseg.widgets.fewshot_taken.{limit}", {"_MOST": 2, "_PIXELS": 2 * 24 * 24}[limit]
    )
    for when, labels in enumerate((ONE, sparse(TRUTH == 1, 3), TWO)):
        (ref,) = keep(tmp_path, labels)
        os.utime(tmp_path / "supports" / f"{ref.key}-{ref.version:016x}.npz", (when, when))
    assert was_made_from(tmp_path, ONE, FRAME) is True
    assert was_made_from(tmp_path, TWO, FRAME) is True
    assert was_made_from(tmp_path, sparse(TRUTH == 1, 3), FRAME) is False


def test_what_cannot_be_read_tells_nothing(tmp_path):
    assert was_made_from(tmp_path / "none", ONE, FRAME) is None
    keep(tmp_path, ONE)
    assert was_made_from(tmp_path, np.full(ONE.shape, 2**40), FRAME) is None, "that is said at Run"
    (file,) = (tmp_path / "supports").glob("*.npz")
    (tmp_path / "supports" / "notes.npz").write_bytes(b"")
    file.write_bytes(file.read_bytes()[:-40])
    assert was_made_from(tmp_path, TWO, FRAME) is None
