"""Sessions and labels that others write in too: nothing of theirs is lost, numbered twice or painted over."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from session_fakes import FakeModel, FakePredictor

from napari_iseg.errors import InputError
from napari_iseg.interactive.session import Session
from napari_iseg.interactive.session_folder import APPLIED, INFO, read_info
from napari_iseg.labels.export import export_labels
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Window

IMAGE = np.zeros((60, 70), np.uint8)
SQUARE = np.ones((10, 10), bool)


def fake_session(labels=None, journal=None, image=IMAGE) -> Session:
    return Session(image, FakeModel(), labels=labels, journal=journal, make_predictor=FakePredictor)


def reopened(folder) -> Session:
    return Session.open(folder, IMAGE, FakeModel(), make_predictor=FakePredictor)


def commit_at(session: Session, row: int, col: int, label: int | None = None) -> int:
    session.click((row, col))
    return session.commit(label)


@pytest.mark.parametrize("opened", [False, True])
def test_an_object_of_before_stays_when_the_session_adds_to_it(tmp_path, opened):
    store = LabelStore((1200, 1200), path=tmp_path / "l.zarr")
    store.write(3, (), Window(0, 0, 10, 10), SQUARE)
    if opened:
        store = LabelStore.open(tmp_path / "l.zarr")
    session = fake_session(store, image=np.zeros(store.shape, np.uint8))
    commit_at(session, 1150, 1150, 3)
    for act in (lambda: None, session.undo, session.redo, lambda: session.delete(3)):
        act()
        assert store.labels == (3,)
        exported = tifffile.imread(export_labels(store, tmp_path / "o.ome.tif"))
        np.testing.assert_array_equal(exported, store.read())
        assert (exported[:10, :10] == 3).all()


def test_an_object_that_is_all_gone_is_no_object_of_the_store(tmp_path):
    store = LabelStore(IMAGE.shape, path=tmp_path / "l.zarr")
    session = fake_session(store, tmp_path / "s")
    commit_at(session, 20, 20)
    session.close()
    session = reopened(tmp_path / "s")
    session.delete(1)
    assert session.labels.labels == ()
    session.undo()
    assert session.labels.labels == (1,)


def test_two_sessions_on_one_store_never_give_one_number_twice(tmp_path):
    first = fake_session(LabelStore(IMAGE.shape, path=tmp_path / "l.zarr"), tmp_path / "a")
    assert commit_at(first, 10, 10) == 1
    first.close()
    second = fake_session(LabelStore.open(tmp_path / "l.zarr"), tmp_path / "b")
    assert commit_at(second, 30, 30) == 2
    second.close()
    first = reopened(tmp_path / "a")
    assert first.object_id == 3
    assert commit_at(first, 50, 50) == 3
    first.undo()
    assert first.object_id == 3


def test_numbers_given_in_the_same_store_meanwhile_are_not_given_again():
    store = LabelStore(IMAGE.shape)
    first, second = fake_session(store), fake_session(store)
    assert [commit_at(first, 10, 10), commit_at(second, 30, 30), commit_at(first, 50, 50)] == [1, 2, 3]


@pytest.mark.parametrize("act", [Session.undo, lambda s: s.delete(1), lambda s: s.reopen(1)])
def test_pixels_that_another_one_took_stay_its_own(act):
    store = LabelStore(IMAGE.shape)
    first, second = fake_session(store), fake_session(store)
    commit_at(first, 20, 20)
    second.click((20, 27))
    second.commit(overwrite=True)
    before = store.read()
    act(first)
    np.testing.assert_array_equal(store.read(), np.where(before == 1, 0, before))
    first.redo() or first.undo()
    np.testing.assert_array_equal(store.read(), before)
    second.undo()  # gives back what it took


def test_an_object_is_redone_where_nobody_else_has_committed_meanwhile():
    store = LabelStore(IMAGE.shape)
    first, second = fake_session(store), fake_session(store)
    mask = first.click((20, 20))
    first.commit()
    first.undo()
    other = second.click((20, 27))
    second.commit()
    first.redo()
    np.testing.assert_array_equal(store.read(), np.where(other, 2, mask))


def test_prompts_of_labels_elsewhere_are_the_same_after_reopening(tmp_path):
    store = LabelStore(IMAGE.shape, path=tmp_path / "l.zarr")
    store.write(2, (), Window(0, 0, 10, 10), SQUARE)
    session = fake_session(store, tmp_path / "s")
    for row, label in ((25, 3), (40, 2)):
        commit_at(session, row, 20, label)
    known = {label: session.labels.prompts_of(label) for label in (2, 3)}
    session.close()
    with reopened(tmp_path / "s") as again:
        assert again.labels.prompts_of(3) == known[3]
        assert sorted(map(str, again.labels.prompts_of(2))) == sorted(map(str, known[2]))


def without_id(folder) -> None:
    """As sessions were recorded before there were marks."""
    info = folder / INFO
    info.write_text("\n".join(line for line in info.read_text().splitlines() if line[:3] != "id "))


def foreign_folder(tmp_path, mine: LabelStore):
    """A session that committed and deleted an object under my label, made to point at my labels."""
    session = fake_session(journal=tmp_path / "foreign")
    commit_at(session, 20, 20)
    session.delete(1)
    session.close()
    info = tmp_path / "foreign" / INFO
    info.write_text(info.read_text().replace("[labels]\n", f"[labels]\npath = '{mine.path}'\n"))
    (tmp_path / "foreign" / APPLIED).unlink()
    return tmp_path / "foreign"


@pytest.mark.parametrize("with_id", [True, False])
def test_a_folder_from_elsewhere_changes_no_labels_it_did_not_write(tmp_path, with_id):
    mine = LabelStore(IMAGE.shape, path=tmp_path / "mine.zarr")
    mine.write(1, (), Window(0, 0, 60, 70), np.ones(IMAGE.shape, bool))
    mine.flush()
    folder = foreign_folder(tmp_path, mine)
    if not with_id:
        without_id(folder)
    with reopened(folder) as session:
        assert f"The labels at {mine.path} are not known to be this session's" in session.note
        assert session.labels.path == folder / "labels.zarr"
        session.undo()
        assert (session.labels.read() == 1).any()
    assert (LabelStore.open(mine.path).read() == 1).all()
    with reopened(folder) as session:  # and from then on it is an ordinary session
        assert session.note == ""


def test_after_a_crash_labels_elsewhere_are_brought_to_the_record(tmp_path):
    session = fake_session(LabelStore(IMAGE.shape, path=tmp_path / "l.zarr"), tmp_path / "s")
    mask = session.click((20, 20))
    session.commit()
    store = LabelStore.open(tmp_path / "l.zarr")
    store.paint((), session._ledger.history.now.objects[1][0].region, 0)  # as if it had not come to the disk
    again = reopened(tmp_path / "s")
    assert (again.labels.path, again.note) == (tmp_path / "l.zarr", "")
    np.testing.assert_array_equal(again.labels.read() == 1, mask)


def test_a_session_of_before_there_were_marks_goes_on_in_its_labels_elsewhere(tmp_path):
    session = fake_session(LabelStore(IMAGE.shape, path=tmp_path / "l.zarr"), tmp_path / "s")
    mask = session.click((20, 20))
    session.commit()
    session.close()
    without_id(tmp_path / "s")
    store = LabelStore.open(tmp_path / "l.zarr")
    store._group.attrs["napari-iseg"] = {"next_label": 2}
    with reopened(tmp_path / "s") as again:
        assert (again.labels.path, again.note) == (tmp_path / "l.zarr", "")
        np.testing.assert_array_equal(again.labels.read() == 1, mask)
    assert read_info(tmp_path / "s")["id"] in LabelStore.open(tmp_path / "l.zarr").sessions


@pytest.mark.parametrize("act", ["undo", "delete"])
def test_a_session_of_before_whose_objects_are_all_gone_goes_on_in_its_labels(tmp_path, act):
    store = LabelStore(IMAGE.shape, path=tmp_path / "l.zarr")
    store.write(1, (), Window(0, 0, 5, 5), np.ones((5, 5), bool))
    session = fake_session(store, tmp_path / "s")
    assert commit_at(session, 20, 20) == 2
    session.undo() if act == "undo" else session.delete(2)
    session.close()
    without_id(tmp_path / "s")
    with reopened(tmp_path / "s") as again:
        assert (again.labels.path, again.note) == (tmp_path / "l.zarr", "")
        again.redo() if act == "undo" else again.undo()
        assert again.labels.labels == (1, 2)


def test_objects_that_another_session_overwrote_are_a_session_of_befores_still(tmp_path):
    first = fake_session(LabelStore(IMAGE.shape, path=tmp_path / "l.zarr"), tmp_path / "a")
    commit_at(first, 20, 20)
    commit_at(first, 45, 45)
    first.close()
    second = fake_session(LabelStore.open(tmp_path / "l.zarr"), tmp_path / "b")
    second.click((25, 20))
    second.commit(overwrite=True)
    second.close()
    without_id(tmp_path / "a")
    before = second.labels.read()
    with reopened(tmp_path / "a") as again:
        assert (again.labels.path, again.note) == (tmp_path / "l.zarr", "")
        np.testing.assert_array_equal(again.labels.read(), before)


def emptied(session: Session) -> None:
    """Object 1 is overwritten by 2, which is deleted: one object without a pixel."""
    session.click((20, 20))
    session.commit(overwrite=True)
    session.delete(2)


@pytest.mark.parametrize("value", [0, 1, 7])
@pytest.mark.parametrize(
    "act",
    [Session.undo, lambda s: s.delete(1), emptied, lambda s: commit_at(s, 45, 45)],
    ids=["undone", "deleted", "emptied", "two"],
)
def test_labels_that_an_old_folder_from_elsewhere_names_are_not_changed(tmp_path, act, value):
    """Empty ones, ones with an object of the same number everywhere, ones with others."""
    mine = LabelStore(IMAGE.shape, path=tmp_path / "mine.zarr")
    if value:
        mine.write(value, (), Window(0, 0, 60, 70), np.ones(IMAGE.shape, bool))
    mine.flush()
    session = fake_session(journal=tmp_path / "foreign")
    commit_at(session, 20, 20)
    act(session)
    session.close()
    info = tmp_path / "foreign" / INFO
    info.write_text(info.read_text().replace("[labels]\n", f"[labels]\npath = '{mine.path}'\n"))
    without_id(tmp_path / "foreign")
    with reopened(tmp_path / "foreign") as session:
        assert "are not known to be this session's" in session.note
        while session.undo():
            pass
        while session.redo():
            pass
    assert (LabelStore.open(mine.path).read() == value).all()


@pytest.mark.parametrize("old", [False, True])
def test_the_names_of_axes_are_those_recorded_except_where_old_sessions_had_the_wrong_ones(tmp_path, old):
    image = np.zeros((16, 18, 3), np.uint8)  # (y, x, z)
    options = {"plane_axes": (0, 1), "rgb": False}
    labels = LabelStore((3, 16, 18), path=tmp_path / "l.zarr", axes=("z", "y", "x"))
    with Session(image, labels=labels, journal=tmp_path / "s", **options) as session:
        session.set_mask(np.ones((16, 18), bool))
        session.commit()
    if old:
        without_id(tmp_path / "s")
    for _ in range(2):  # an old one gets its id at the first
        with Session.open(tmp_path / "s", image) as session:
            assert session.labels.path == tmp_path / "l.zarr"
            assert session.labels.space.axes == (("x", "z", "y") if old else ("z", "y", "x"))


def test_a_store_keeps_the_marks_of_all_its_sessions(tmp_path):
    first = LabelStore(IMAGE.shape, path=tmp_path / "l.zarr")
    second = LabelStore.open(tmp_path / "l.zarr")
    first.sign("one")
    second.sign("two")
    first.flush()
    assert LabelStore.open(tmp_path / "l.zarr").sessions == ("one", "two")


def test_options_of_numpy_and_ranges_are_recorded(tmp_path):
    image = np.zeros((16, 18, 5), np.uint8)
    options = {"channel_axis": np.int64(2), "plane_axes": np.array([0, 1]), "bands": range(3)}
    Session(image, journal=tmp_path / "a", **options).close()
    assert read_info(tmp_path / "a")["image"]["options"] == {
        "channel_axis": 2,
        "plane_axes": [0, 1],
        "bands": [0, 1, 2],
    }
    Session.open(tmp_path / "a", image).close()


def test_a_session_of_a_newer_format_is_refused(tmp_path):
    fake_session(journal=tmp_path / "s").close()
    file = tmp_path / "s" / INFO
    file.write_text(file.read_text().replace("format = 1", "format = 2"))
    with pytest.raises(InputError, match="is of format 2, and this napari-iseg reads 1"):
        read_info(tmp_path / "s")
