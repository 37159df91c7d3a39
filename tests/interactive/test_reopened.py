"""A session tells which committed objects are open again, and so are missing in its labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from session_fakes import FakeModel, FakePredictor

from napari_iseg.errors import InputError
from napari_iseg.interactive.session import Session

STACK = np.zeros((2, 60, 70), np.uint8)


def test_what_is_reopened_is_known_until_it_is_committed_reset_or_undone(tmp_path: Path) -> None:
    session = Session(STACK, FakeModel(), make_predictor=FakePredictor, journal=tmp_path / "s")
    for point in ((0, 20, 20), (1, 20, 20), (1, 45, 45)):
        session.click(point)
        session.commit()
    session.reopen(3)
    session.plane = (0,)
    session.reopen(1)
    session.click((0, 20, 26), positive=False)
    assert session.reopened == {(0,): 1, (1,): 3}
    with pytest.raises(InputError, match="Another object is open in this plane; commit or reset it"):
        session.reopen(2)  # in the plane of 3
    session.reset()
    assert session.reopened == {(1,): 3}
    session.undo()
    session.commit()
    assert session.reopened == {(1,): 3}
    session.close()
    again = Session.open(tmp_path / "s", STACK, FakeModel(), make_predictor=FakePredictor)
    assert again.reopened == {(1,): 3}
    for _ in range(4):  # commit, click, and both reopenings
        again.undo()
    assert again.reopened == {}
    again.redo()
    again.plane = (1,)
    again.click((1, 5, 5))  # a label chosen for a new object is none
    again.reset()
    again.choose_label(9)
    again.click((1, 5, 5))
    assert again.reopened == {}
    again.close()


def test_a_reopened_object_without_prompts_is_still_out_of_the_labels(tmp_path: Path) -> None:
    session = Session(STACK, FakeModel(), make_predictor=FakePredictor, journal=tmp_path / "s")
    for point in ((0, 20, 20), (0, 45, 45)):
        session.click(point)
        session.commit()
    session.reopen(1)
    session.remove_click(0)
    assert session.reopened == {(0,): 1}
    with pytest.raises(InputError, match="Object 1 is open in this plane; commit or reset it"):
        session.reopen(2)  # 1 would be nowhere then, and nothing would say so
    session.click((0, 20, 20))
    session.remove_click(0)
    session.box((10, 10, 20, 20))
    session.remove_box()
    session.close()
    session = Session.open(tmp_path / "s", STACK, FakeModel(), make_predictor=FakePredictor)
    assert session.reopened == {(0,): 1}
    session.click((0, 20, 20))
    assert session.commit() == 1
    assert session.reopened == {}
    session.reopen(1)
    session.remove_click(0)
    session.reset()  # it is given up: another may be reopened
    assert session.reopened == {}
    session.reopen(2)
    assert session.reopened == {(0,): 2}
    session.undo()
    session.undo()
    assert session.reopened == {(0,): 1}
    session.close()
