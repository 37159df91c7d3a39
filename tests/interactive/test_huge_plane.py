"""A plane of which no array fits into memory: nothing is recorded that was refused, and the way out works."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from session_fakes import FakeModel, FakePredictor

from napari_iseg.errors import IsegError
from napari_iseg.interactive.session import Session

SIDE = 2**24  # an array of all pixels would need more than the address space there is
VIEW = (0, 0, 64, 64)


@pytest.fixture
def session() -> Session:
    image = zarr.create_array(
        store=zarr.storage.MemoryStore(), shape=(SIDE, SIDE), chunks=(4096, 4096), dtype="u1"
    )
    return Session(image, FakeModel(), make_predictor=FakePredictor)


def test_what_cannot_be_answered_is_not_recorded(session: Session) -> None:
    words = "session.append_click or append_box, session.finish"
    for ask in (session.click, session.box):
        with pytest.raises(IsegError, match=words):
            ask((9, 9) if ask == session.click else (9, 9, 20, 20), view=VIEW)
    assert not session.clicks
    assert session.current_box is None
    assert not session.can_undo


def test_the_way_out_is_one(session: Session) -> None:
    session.append_click((20, 20), view=VIEW)
    for whole in ("mask", "probability"):
        with pytest.raises(IsegError, match=r"session\.patch"):
            getattr(session, whole)
    job = session.job()
    assert job is not None
    session.finish(job.run())
    assert session.patch is not None
    assert session.patch.mask.any()
    assert session.commit() == 1
    assert np.unique(session.labels.read((), VIEW)).tolist() == [0, 1]
