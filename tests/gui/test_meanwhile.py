"""What the user does while a session is saved elsewhere or opened counts, and nothing of it is lost."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from napari_iseg.interactive import session_copy
from napari_iseg.interactive.session import Session

from .conftest import Bench
from .napari_versions import grid_of
from .test_nothing_unsaid import IMAGE, STACK, begun, close, committed
from .test_session_files import TwoModels

THICK = STACK[:, :, :100].repeat(20, 0)  # (40, 128, 100): no axis is like another


@pytest.fixture(autouse=True)
def _nothing_said() -> None:
    notification_manager.records.clear()


def said() -> list[str]:
    return [record.message for record in notification_manager.records]


def saving(bench: Bench, folder: Path, monkeypatch: Any) -> None:
    """Save the session elsewhere, which has begun when this returns, and takes a while."""
    copy = session_copy.copy_session

    def slowly(*given: Any) -> Any:
        time.sleep(0.3)
        return copy(*given)

    monkeypatch.setattr(session_copy, "copy_session", slowly)
    bench.dock.controller.files.save(bench.editor, folder)
    bench.qtbot.wait(50)
    assert bench.editor.activity == f"Saving {folder.name}"


def left(bench: Bench, *, beside: bool = True) -> Path:
    """The folder of the session of a dock that is closed now; models are slow from here on."""
    folder: Path = bench.editor.session.folder
    close(bench)
    if not beside:
        bench.viewer.layers.remove("cells objects")
    bench.loader = type(bench.loader)(seconds=0.4)
    return folder


def opening(bench: Bench, folder: Path) -> Any:
    """A dock that is just opening a session."""
    dock = bench.open()
    bench.rest()
    dock.controller.files.open(folder)
    bench.qtbot.wait(50)
    assert dock.activity.text() == "Opening the session…"
    return dock


@pytest.fixture
def thick(bench: Bench) -> Path:
    """The folder of a session on planes of a stack, whose dock and labels are gone."""
    begun(bench, THICK)
    committed(bench, (0, 60, 60))
    return left(bench, beside=False)


def test_a_commit_and_a_click_made_while_the_session_is_saved_are_in_the_copy(
    bench: Bench, tmp_path: Path, monkeypatch: Any
) -> None:
    dock = begun(bench)
    committed(bench, (30, 30))
    bench.click((90, 90))
    old = bench.editor.session.folder
    saving(bench, tmp_path / "new.iseg", monkeypatch)
    dock.controller.perform("commit")
    dock.controller.click_world((30, 90), True)
    bench.settle()
    session = bench.editor.session
    assert session.folder == tmp_path / "new.iseg"
    assert sorted(session.objects) == [1, 2]
    assert [(click.row, click.col) for click in session.clicks] == [(30, 90)]
    assert np.unique(np.asarray(bench.editor.layers.committed.data)).tolist() == [0, 1, 2]
    with Session.open(old, IMAGE) as before:
        assert sorted(before.objects) == [1]


def test_a_click_in_another_plane_does_not_move_a_commit_before_it(
    bench: Bench, tmp_path: Path, monkeypatch: Any
) -> None:
    dock = begun(bench, STACK)
    bench.viewer.dims.set_point(0, 0)
    bench.click((0, 60, 60))
    saving(bench, tmp_path / "new.iseg", monkeypatch)
    dock.controller.perform("commit")
    bench.viewer.dims.set_point(0, 1)
    dock.controller.click_world((1, 30, 30), True)
    bench.settle()
    session = bench.editor.session
    assert session.objects == {1: ((0,),)}
    assert session.plane == (1,)
    assert len(session.clicks) == 1


def test_the_copy_goes_on_in_the_plane_that_is_shown(bench: Bench, tmp_path: Path, monkeypatch: Any) -> None:
    begun(bench, STACK)
    bench.viewer.dims.set_point(0, 0)
    bench.click((0, 60, 60))
    bench.viewer.dims.set_point(0, 1)
    bench.settle()
    saving(bench, tmp_path / "new.iseg", monkeypatch)
    bench.settle()
    assert bench.editor.session.plane == (1,)
    assert bench.editor.clicks == []


@pytest.mark.parametrize("change", [{"order": (1, 0, 2)}, {"ndisplay": 3}])
def test_a_session_is_shown_on_its_axes_whatever_was_shown_meanwhile(
    bench: Bench, thick: Path, change: dict[str, Any]
) -> None:
    dock = opening(bench, thick)
    for name, value in change.items():
        setattr(bench.viewer.dims, name, value)
    bench.rest()
    assert "1 object" in dock.status.text()
    assert bench.viewer.dims.displayed == (1, 2)
    assert bench.editor.layers.committed.data.shape == THICK.shape
    bench.click((0, 3, 30))
    assert [(click.row, click.col) for click in bench.editor.session.clicks] == [(3, 30)]
    assert said() == []


def test_a_session_that_cannot_be_shown_says_why(bench: Bench, thick: Path) -> None:
    dock = opening(bench, thick)
    grid_of(bench.viewer).enabled = True
    bench.rest()
    assert "switch the grid off" in said()[-1]
    assert said()[-1].endswith("Then open the session again.")
    grid_of(bench.viewer).enabled = False
    other = bench.viewer.add_image(IMAGE, name="other")
    for meanwhile, words in (
        (lambda: dock.controller.choose_image(other), "Another image was chosen meanwhile"),
        (lambda: bench.viewer.layers.remove("cells"), "The image was removed meanwhile"),
    ):
        dock.controller.choose_image(bench.viewer.layers["cells"])
        dock.controller.files.open(thick)
        meanwhile()
        bench.rest()
        assert f"{words}; open the session again." in said()[-1]


def test_opening_a_session_once_more_that_is_open_shows_it(bench: Bench) -> None:
    dock = begun(bench, THICK)
    committed(bench, (0, 60, 60))
    session = bench.editor.session
    bench.viewer.dims.order = (1, 0, 2)
    bench.rest()
    dock.controller.files.open(session.folder)
    bench.rest()
    assert dock.status.text() == "That session is open already."
    assert bench.editor.session is session
    assert bench.viewer.dims.displayed == (1, 2)


def test_two_docks_do_not_open_one_session_at_once(bench: Bench, thick: Path, qtbot: Any) -> None:
    other = Bench(bench.viewer, qtbot, bench.folder)
    second = other.open()
    other.rest()
    first = opening(bench, thick)
    second.controller.files.open(thick)
    assert "is open in another dock; go on there" in said()[-1]
    first.controller.files.open(thick)
    assert first.status.text() == "That session is being opened already."
    bench.rest()
    other.settle()
    assert "1 object" in first.status.text()
    assert [editor.session for editor in second.controller.editors] == [None]
    second.shut_down()
    assert second.controller.worker.join(10)


def test_a_dock_that_was_closed_opens_no_session_any_more(bench: Bench, thick: Path) -> None:
    opening(bench, thick)
    kept = bench.dock  # its widget is there yet
    kept.shut_down()
    opening(bench, thick)
    bench.rest()
    assert bench.editor.session.folder == thick
    assert kept.controller.worker.join(10)


def test_a_model_chosen_while_a_left_session_opens_answers(bench: Bench) -> None:
    dock = begun(bench, loader=TwoModels())
    dock.use_model("wide")
    committed(bench, (30, 30))
    left(bench)
    dock = bench.open()
    bench.qtbot.wait(100)
    assert bench.editor.activity
    dock.use_model("wide")
    dock.use_model("disks")
    bench.rest()
    assert dock.models.card.name == bench.editor.session.model.card.name == "disks"


def test_a_threshold_chosen_while_a_left_session_opens_counts(bench: Bench) -> None:
    dock = begun(bench, loader=TwoModels())
    committed(bench, (30, 30))
    left(bench)
    dock = bench.open()
    dock.options.threshold.setValue(0.8)
    bench.qtbot.waitUntil(lambda: dock.controller.choice.options.threshold == 0.8)
    assert bench.editor.activity
    bench.rest()
    assert dock.options.threshold.value() == bench.editor.session.threshold == 0.8


def test_of_two_left_sessions_that_open_at_once_the_one_in_front_brings_its_model(bench: Bench) -> None:
    begun(bench, loader=TwoModels())
    committed(bench, (30, 30))
    close(bench)
    cells, other = bench.viewer.layers["cells"], bench.viewer.add_image(IMAGE[::-1], name="other")
    dock = bench.open()
    assert dock.controller.image is other
    dock.use_model("wide")
    committed(bench, (60, 60))
    left(bench)
    dock = bench.open()
    for image in (other, cells, other):
        dock.controller.choose_image(image)
        bench.qtbot.wait(20)
    bench.rest()
    assert dock.models.card.name == bench.editor.session.model.card.name == "wide"
    dock.controller.choose_image(cells)
    bench.rest()
    assert dock.models.card.name == bench.editor.session.model.card.name


@pytest.mark.parametrize("end", ["dock", "image"])
def test_a_reopened_object_is_said_to_be_missing_also_while_the_session_is_at_work(
    bench: Bench, end: str
) -> None:
    begun(bench)
    committed(bench, (30, 30), (90, 90))
    bench.do("pick")
    bench.click((90, 90))
    bench.editor.run_on_session("Saving x", lambda _session: time.sleep(0.3), lambda _done: None)
    if end == "dock":
        close(bench)
    else:
        bench.viewer.layers.remove("cells")
        bench.rest()
    (sentence,) = said()
    assert "Object 2 is open and not in the labels that stay" in sentence
