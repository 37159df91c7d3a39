"""What a session took from others' objects is known to the labels when it is undone after reopening."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from session_fakes import FakeModel, FakePredictor

from napari_iseg.interactive.session import Session
from napari_iseg.labels.store import LabelStore

IMAGE = np.zeros((60, 1100), np.uint8)


def mask_of(left: int, right: int) -> np.ndarray:
    mask = np.zeros(IMAGE.shape, bool)
    mask[5:50, left:right] = True
    return mask


def reopened(session: Session, folder: Path) -> Session:
    session.close()
    return Session.open(folder, IMAGE, FakeModel(), make_predictor=FakePredictor)


@pytest.mark.parametrize("own", [False, True], ids=["theirs", "also the session's"])
@pytest.mark.parametrize(("left", "right"), [(470, 620), (512, 700)], ids=["all", "one chunk of two"])
def test_undo_brings_it_back_to_the_store(tmp_path: Path, left: int, right: int, own: bool) -> None:
    store = LabelStore(IMAGE.shape, path=tmp_path / "l.zarr")
    store.write(5, (), (10, 480, 40, 600), np.ones((30, 120), bool))
    store.flush()
    session = Session(
        IMAGE,
        FakeModel(),
        labels=LabelStore.open(tmp_path / "l.zarr"),
        make_predictor=FakePredictor,
        journal=tmp_path / "s",
    )
    if own:
        session.set_mask(mask_of(590, 640))
        session.choose_label(5)
        session.commit()
    before, places = session.labels.read(), session.labels.traces_of(5)
    session.set_mask(mask_of(left, right))
    session.commit(overwrite=True)
    after = session.labels.read()
    session.undo()
    assert session.labels.traces_of(5) == places  # nothing new is learned without reopening
    session.redo()
    session = reopened(session, tmp_path / "s")
    for _ in range(2):
        session.undo()
        assert np.array_equal(session.labels.read(), before)
        assert session.labels.labels == (5,)
        session.redo()
        assert np.array_equal(session.labels.read(), after)
        assert session.labels.labels == tuple(np.unique(after)[1:].tolist())
    session.undo()
    assert session.labels.erase(5) == np.count_nonzero(before)
    assert not session.labels.read().any()
    session.close()
