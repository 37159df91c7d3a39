"""An object that lost its last pixel to another one is in no list of labels, and comes back by undoing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from session_fakes import FakeModel, FakePredictor

from napari_iseg.interactive.session import Session
from napari_iseg.labels.store import LabelStore

IMAGE = np.zeros((60, 70), np.uint8)


def square(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros(IMAGE.shape, bool)
    mask[top:bottom, left:right] = True
    return mask


def put(session: Session, mask: np.ndarray, **options: bool) -> int:
    session.set_mask(mask)
    return session.commit(**options)


def agree(session: Session) -> None:
    """The store lists what its pixels are."""
    assert session.labels.labels == tuple(np.unique(session.labels.read()).tolist()[1:])


def test_a_sessions_object(tmp_path: Path) -> None:
    session = Session(IMAGE, FakeModel(), make_predictor=FakePredictor, journal=tmp_path / "s")
    put(session, square(10, 10, 20, 20))
    put(session, square(5, 5, 30, 30), overwrite=True)
    assert session.labels.labels == (2,)
    assert sorted(session.objects) == [1, 2]  # its prompts are kept
    for act, expected in ((session.undo, (1,)), (session.redo, (2,))):
        act()
        assert session.labels.labels == expected
        agree(session)
    session.close()
    assert LabelStore.open(tmp_path / "s" / "labels.zarr").labels == (2,)
    session = Session.open(tmp_path / "s", IMAGE, FakeModel(), make_predictor=FakePredictor)
    assert session.labels.labels == (2,)
    assert session.object_id == 3
    session.delete(2)
    assert session.labels.labels == ()
    session.undo()
    session.undo()
    assert session.labels.labels == (1,)
    session.close()


@pytest.mark.parametrize("opened", [False, True])
def test_an_object_of_before_taken_in_two_steps(tmp_path: Path, opened: bool) -> None:
    store = LabelStore(IMAGE.shape, path=tmp_path / "l.zarr")
    store.write(7, (), (10, 10, 20, 20), np.ones((10, 10), bool))
    if opened:
        store = LabelStore.open(tmp_path / "l.zarr")
    session = Session(IMAGE, FakeModel(), labels=store, make_predictor=FakePredictor)
    session.labels.write(7, (), (40, 40, 45, 45), np.ones((5, 5), bool))  # another one goes on with it
    put(session, square(5, 5, 30, 30), overwrite=True)
    assert store.labels == (7, 8)
    put(session, square(35, 35, 50, 50), overwrite=True)
    assert store.labels == (8, 9)
    for act in (*[session.undo] * 4, *[session.redo] * 4, *[session.undo] * 4):
        act()
        agree(session)
    assert store.erase(7) == 125
    assert not store.read().any()
