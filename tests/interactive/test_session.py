"""Session: what a user does, with a predictor whose answers are known."""

from __future__ import annotations

import shutil
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from session_fakes import FakeModel, FakePredictor

from napari_iseg.errors import CancelledError, InputError, SaveError
from napari_iseg.interactive.session import Session
from napari_iseg.labels.checks import checked_label
from napari_iseg.labels.journal import Journal
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Click, Prompts, Window

IMAGE = np.random.default_rng(0).integers(0, 255, (60, 70), np.uint8)
STACK = np.random.default_rng(1).integers(0, 255, (5, 60, 70), np.uint8)


def fake_session(image=IMAGE, model=None, **options) -> Session:
    return Session(image, model or FakeModel(), make_predictor=FakePredictor, **options)


def reopened(folder, image=IMAGE, model=None, **options) -> Session:
    return Session.open(folder, image, model or FakeModel(), make_predictor=FakePredictor, **options)


def test_a_click_answers_and_undo_is_exact():
    session = fake_session()
    first = session.click((20, 20))
    assert first.shape == IMAGE.shape
    assert first.dtype == bool
    assert first[20, 20]
    probability = session.probability
    second = session.click((22, 26), positive=False)
    assert second.sum() < first.sum()
    assert session.undo()
    np.testing.assert_array_equal(session.mask, first)
    np.testing.assert_array_equal(session.probability, probability)
    assert session.clicks == (Click(20, 20),)
    assert session.redo()
    np.testing.assert_array_equal(session.mask, second)
    assert not session.redo()


def test_undo_without_cache_recomputes_the_same_bits():
    session = fake_session(cache_bytes=1)
    masks = [session.click((20 + 3 * i, 20), i % 3 != 2) for i in range(6)]
    for mask in reversed(masks[:-1]):
        session.undo()
        np.testing.assert_array_equal(session.mask, mask)


def test_undo_and_redo_on_nothing_do_nothing():
    session = fake_session()
    assert not session.can_undo
    assert not session.undo()
    assert not session.redo()
    session.reset()
    assert not session.can_undo


def test_commit_writes_the_mask_and_opens_the_next_object():
    session = fake_session()
    mask = session.click((20, 20))
    assert session.object_id == 1
    assert session.commit() == 1
    np.testing.assert_array_equal(session.labels.read() == 1, mask)
    assert session.object_id == 2
    assert not session.mask.any()
    assert session.labels.prompts_of(1) == (Prompts((Click(20, 20),)),)
    session.undo()
    assert not session.labels.read().any()
    np.testing.assert_array_equal(session.mask, mask)
    assert session.object_id == 1


def test_overlap_stays_with_the_earlier_object_and_is_reported():
    session = fake_session()
    told = []
    session.events.committed.connect(lambda label, kept: told.append((label, kept)))
    first = session.click((20, 20))
    session.commit()
    second = session.click((20, 26))
    session.commit()
    labels = session.labels.read()
    np.testing.assert_array_equal(labels == 1, first)
    np.testing.assert_array_equal(labels == 2, second & ~first)
    assert told == [(1, 0), (2, int((first & second).sum()))]


def test_overwriting_takes_pixels_and_undo_gives_them_back():
    session = fake_session()
    first = session.click((20, 20))
    session.commit()
    before = session.labels.read()
    second = session.click((20, 26))
    session.commit(overwrite=True)
    labels = session.labels.read()
    np.testing.assert_array_equal(labels == 2, second)
    np.testing.assert_array_equal(labels == 1, first & ~second)
    session.undo()
    np.testing.assert_array_equal(session.labels.read(), before)
    session.redo()
    np.testing.assert_array_equal(session.labels.read(), labels)


def test_overwriting_labels_that_were_there_before_is_undone_too():
    store = LabelStore(IMAGE.shape)
    store.write(4, (), Window(15, 15, 25, 25), np.ones((10, 10), bool))
    before = store.read()
    session = fake_session(labels=store)
    session.click((20, 20))
    assert session.commit(overwrite=True) == 5
    assert not (store.read() == 4).any()
    session.undo()
    np.testing.assert_array_equal(store.read(), before)


def test_an_object_hidden_by_others_is_refused():
    session = fake_session()
    session.click((20, 20))
    session.commit()
    session.click((20, 20))
    with pytest.raises(InputError, match=r"committed objects already \(1\)"):
        session.commit()
    assert session.clicks == (Click(20, 20),)


@pytest.mark.parametrize("clicks", [[], [((20, 20), False)]])
def test_nothing_to_commit_is_refused(clicks):
    session = fake_session()
    for point, positive in clicks:
        session.click(point, positive)
    with pytest.raises(InputError, match="nothing to commit: the object is empty; click on it first"):
        session.commit()
    assert session.objects == {}


@pytest.mark.parametrize("prompt", ["click", "box"])
def test_an_answer_below_the_threshold_is_not_called_unclicked(prompt):
    session = fake_session()
    session.box((10, 10, 20, 20)) if prompt == "box" else session.click((20, 20))
    session.threshold = 0.9
    if prompt == "click":
        session.click((20, 20), positive=False)
    with pytest.raises(
        InputError, match=r"nowhere above the threshold; .*another click, or lower the threshold"
    ):
        session.commit()


def test_a_refused_action_does_not_make_a_running_prediction_stale():
    session = fake_session()
    session.append_click((20, 20))
    job = session.job()
    with pytest.raises(InputError):
        session.delete(3)
    assert session.finish(job.run())


def test_a_reopened_object_is_corrected_under_its_label():
    session = fake_session()
    session.click((20, 20))
    session.commit()
    session.click((45, 45))
    session.commit()
    before = session.labels.read()
    session.reopen(1)
    assert session.clicks == (Click(20, 20),)
    assert session.object_id == 1
    assert not (session.labels.read() == 1).any()
    mask = session.click((20, 26), positive=False)
    assert session.commit() == 1
    np.testing.assert_array_equal(session.labels.read() == 1, mask)
    assert session.object_id == 3
    for _ in range(3):
        session.undo()
    np.testing.assert_array_equal(session.labels.read(), before)


def test_reopening_over_an_open_object_is_refused():
    session = fake_session()
    session.click((20, 20))
    session.commit()
    session.click((45, 45))
    with pytest.raises(InputError, match="commit or reset"):
        session.reopen(1)


def test_delete_takes_all_planes_and_unknown_labels_are_named():
    session = fake_session(STACK)
    session.click((0, 20, 20))
    session.commit()
    session.click((2, 20, 20))
    session.commit(1)
    assert session.objects == {1: ((0,), (2,))}
    session.delete(1)
    assert not any(session.labels.read((z,)).any() for z in range(5))
    session.undo()
    assert all(session.labels.read((z,)).any() for z in (0, 2))
    with pytest.raises(InputError, match=r"no committed object 9.*there are: 1"):
        session.delete(9)
    with pytest.raises(InputError, match="no committed object 9"):
        session.reopen(9)


def test_deleted_numbers_are_not_given_again():
    session = fake_session()
    session.click((20, 20))
    session.commit()
    session.delete(1)
    session.click((20, 20))
    assert session.commit() == 2


def test_every_plane_keeps_its_open_object():
    session = fake_session(STACK)
    first = session.click((1, 20, 20))
    second = session.click((3, 30, 30))
    assert session.plane == (3,)
    session.plane = (1,)
    np.testing.assert_array_equal(session.mask, first)
    session.undo()  # the click in plane 3, from plane 1
    assert session.plane == (1,)
    session.redo()
    assert session.plane == (3,)
    np.testing.assert_array_equal(session.mask, second)


def test_moved_and_removed_clicks_replay_the_rest():
    session, other = fake_session(), fake_session()
    for point in ((20, 20), (25, 25), (30, 40)):
        session.click(point)
    session.move_click(1, (40, 25))
    for point in ((20, 20), (40, 25), (30, 40)):
        expected = other.click(point)
    np.testing.assert_array_equal(session.mask, expected)
    session.remove_click(0)
    other.reset()
    for point in ((40, 25), (30, 40)):
        expected = other.click(point)
    np.testing.assert_array_equal(session.mask, expected)
    session.undo()
    session.undo()
    assert session.clicks[1] == Click(25, 25)
    for call in (lambda: session.remove_click(3), lambda: session.move_click(-1, (5, 5))):
        with pytest.raises(InputError, match="no click number"):
            call()


def test_a_chosen_label_adds_to_an_object_and_survives_reset():
    session = fake_session()
    session.click((10, 10))
    session.commit(5)
    session.choose_label(5)
    session.click((40, 40))
    session.reset()
    assert session.object_id == 5
    session.click((45, 45))
    session.commit()
    assert session.objects == {5: ((), ())}
    assert session.object_id == 5, "a class stays chosen"
    session.undo()
    session.redo()
    assert session.object_id == 5
    session.choose_label(None)
    assert session.object_id == 6


def test_a_label_that_is_new_on_the_plane_is_followed_by_the_next_free_one():
    session = Session(np.zeros((2, 64, 64), np.uint8), FakeModel(), make_predictor=FakePredictor)
    for plane in range(2):
        session.plane = (plane,)
        session.choose_label(3)
        session.click((10, 10))
        session.commit()
        assert session.object_id == 4


def test_the_threshold_asks_no_network():
    steps = []
    session = Session(IMAGE, FakeModel(), make_predictor=partial(FakePredictor, steps=steps))
    wide = session.click((20, 20))
    session.threshold = 0.8
    narrow = session.mask
    assert narrow.sum() < wide.sum()
    assert len(steps) == 1
    session.threshold = None
    np.testing.assert_array_equal(session.mask, wide)
    with pytest.raises(InputError, match="between 0 and 1"):
        session.threshold = 1.5


def test_boxes_only_where_the_model_takes_them():
    session = fake_session()
    mask = session.box((10, 10, 20, 30))
    assert mask[10:20, 10:30].all()
    assert mask.sum() == 200
    session.click((40, 40))
    session.undo()
    np.testing.assert_array_equal(session.mask, mask)
    session.undo()
    assert not session.mask.any()
    session.model = FakeModel("clicks only", prompts=("click",))
    with pytest.raises(InputError, match="does not take boxes"):
        session.box((10, 10, 20, 30))


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ((60, 10), "outside the image of 60 x 70"),
        ((-1, 10), "outside"),
        ((float("nan"), 3), "finite"),
        ((1, 2, 3), r"Expected \(y, x\), got 3"),
        (("a", 3), r"Expected \(y, x\), all of them numbers; got \('a', 3\)"),
        ("ab", "Expected .* got 'ab'"),
        (((1, 2), 3), "all of them numbers"),
        (Click(1, 2), r"give the point as \(1, 2\)"),
        ((10**400, 3), "all of them numbers"),
    ],
)
def test_bad_points_leave_no_trace(point, words):
    session = fake_session()
    with pytest.raises(InputError, match=words):
        session.click(point)
    assert session.clicks == ()
    assert not session.can_undo


def test_bad_planes_are_named():
    session = fake_session(STACK)
    with pytest.raises(InputError, match=r"plane \(5,\) is outside"):
        session.click((5, 10, 10))
    with pytest.raises(InputError, match="1 indices"):
        session.plane = (1, 2)
    for plane in ("a", ("z",), [{}]):
        with pytest.raises(InputError, match="1 indices, all of them numbers"):
            session.plane = plane
    with pytest.raises(InputError, match="must be finite"):
        session.plane = float("nan")


def test_bad_boxes_are_named():
    session = fake_session(STACK)
    with pytest.raises(InputError, match=r"\(y0, x0, y1, x1\) or 1 plane indices and .* numbers; got \['a'"):
        session.box(["a", 1, 2, 3])
    assert not session.can_undo


def test_without_a_model_nothing_is_recorded():
    session = Session(IMAGE, None, make_predictor=FakePredictor)
    with pytest.raises(InputError, match="No model"):
        session.click((10, 10))
    assert session.clicks == ()
    session.append_click((10, 10))
    session.model = FakeModel()
    assert session.mask.any()


def test_another_model_answers_anew_and_committed_objects_stay():
    session = fake_session()
    committed = session.click((45, 45))
    session.commit()
    small = session.click((20, 20))
    session.model = FakeModel("larger", 12)
    assert session.mask.sum() > small.sum()
    np.testing.assert_array_equal(session.labels.read() == 1, committed)


def test_jobs_run_apart_and_stale_answers_are_dropped_but_used():
    session = fake_session()
    session.append_click((20, 20))
    stale = session.job()
    assert session.patch is None
    session.append_click((30, 30))
    job = session.job()
    changes = []
    session.events.changed.connect(lambda: changes.append(1))
    assert not session.finish(stale.run())
    assert changes == []
    assert session.job().done == 1  # what the stale job found is not computed again
    assert session.finish(job.run())
    assert changes == [1]
    assert session.job() is None
    np.testing.assert_array_equal(session.patch.mask, session.mask)


def test_an_answer_of_an_old_model_is_not_kept():
    session = fake_session()
    session.append_click((20, 20))
    job = session.job()
    session.model = FakeModel("other", 12)
    assert not session.finish(job.run())
    assert session.job().done == 0


def test_cancelled_and_failed_jobs_leave_the_session_usable():
    session = fake_session()
    errors = []
    session.events.failed.connect(errors.append)
    session.click((20, 20))
    session.append_click((30, 30))
    with pytest.raises(CancelledError):
        session.job().run(lambda: True)
    assert session.job() is not None
    with pytest.raises(InputError, match="row 13"):
        session.click((13, 30))
    assert [str(error) for error in errors] == ["The fake refuses row 13."]
    assert len(session.clicks) == 3
    session.undo()
    assert session.mask.any()


def test_a_coarse_area_is_committed_as_it_is_shown():
    session = fake_session(np.zeros((300, 400), np.uint8))
    view = Window(40, 60, 201, 261)
    mask = session.click((100, 100), view=view)
    assert session.patch.scale == 2
    assert session.patch.mask.shape == (81, 101)
    session.commit()
    np.testing.assert_array_equal(session.labels.read() == 1, mask)
    rows, cols = np.nonzero(mask)
    assert abs(rows.mean() - 100.5) < 0.6  # the fake puts a click at the corner of its grid pixel
    assert abs(cols.mean() - 100.5) < 0.6
    assert 0.8 < mask.sum() / (np.pi * 8**2) < 1.2


def test_labels_changed_names_the_window_that_changed():
    session = fake_session(STACK)
    seen = []
    session.events.labels_changed.connect(lambda window, plane: seen.append((window, plane)))
    mask = session.click((2, 20, 20))
    session.commit()
    rows, cols = np.nonzero(mask)
    window = Window(rows.min(), cols.min(), rows.max() + 1, cols.max() + 1)
    assert seen == [(window, (2,))]


def test_a_session_comes_back_with_its_undo_history(tmp_path):
    session = fake_session(STACK, journal=tmp_path / "s", image_path=Path("stack.zarr"))
    session.click((1, 20, 20))
    session.commit()
    session.threshold = 0.4
    session.click((1, 40, 40))
    session.click((3, 10, 10), view=Window(0, 0, 40, 41))
    session.delete(1)
    session.undo()
    mask, labels = session.mask, session.labels.read((1,))
    shutil.copytree(tmp_path / "s", tmp_path / "t")
    again = reopened(tmp_path / "t", STACK)
    assert (again.plane, again.clicks, again.threshold, again.can_redo) == (
        session.plane,
        session.clicks,
        0.4,
        True,
    )
    np.testing.assert_array_equal(again.mask, mask)
    np.testing.assert_array_equal(again.labels.read((1,)), labels)
    while again.undo():
        session.undo()
        np.testing.assert_array_equal(again.mask, session.mask)
    again.click((0, 5, 5))
    again.close()
    assert reopened(tmp_path / "t", STACK).clicks == (Click(5, 5),)


def test_numbers_from_numpy_are_recorded(tmp_path):
    session = fake_session(STACK, journal=tmp_path / "s")
    one = np.int64(1)
    session.click(np.array([1, 20, 20]), np.bool_(True), view=Window(*np.array([0, 0, 40, 41])))
    session.click((22, 22))
    session.move_click(one, np.array([1, 25.5, 22], np.float32))
    session.remove_click(np.int64(0))
    session.commit(one)
    session.reopen(one)
    session.commit(np.uint32(1))
    expected = session.labels.read((1,))
    session.delete(one)
    again = reopened(tmp_path / "s", STACK)
    again.undo()
    np.testing.assert_array_equal(again.labels.read((1,)), expected)
    assert expected.any()


def test_the_session_folder_is_checked(tmp_path):
    fake_session(journal=tmp_path / "s").close()
    with pytest.raises(InputError, match="already holds a session"):
        fake_session(journal=tmp_path / "s")
    with pytest.raises(InputError, match=r"\(5, 60, 70\).*belongs to one of \(60, 70\)"):
        reopened(tmp_path / "s", STACK)
    with pytest.raises(InputError, match="not a session folder"):
        reopened(tmp_path / "nothing")


@pytest.mark.parametrize(
    "body",
    [
        {"do": {"kind": "dance", "plane": []}},
        {"do": {"kind": "click", "plane": [], "click": ["a"]}},
        {"undo": 1},
    ],
)
def test_a_record_of_another_version_is_named(tmp_path, body):
    fake_session(journal=tmp_path / "s").close()
    journal = Journal(tmp_path / "s" / "journal.jsonl")
    number = journal.append(body)
    journal.close()
    with pytest.raises(InputError, match=f"Record {number} of .*newer napari-iseg"):
        reopened(tmp_path / "s")


def test_a_closed_session_says_so(tmp_path):
    session = fake_session(journal=tmp_path / "s")
    session.close()
    with pytest.raises(SaveError, match="is closed; open the session again"):
        session.click((20, 20))
    assert session.clicks == ()


@pytest.mark.parametrize("harm", ["missing", "truncated chunk", "metadata", "old"])
def test_labels_are_rebuilt_from_the_journal(tmp_path, harm):
    session = fake_session(journal=tmp_path / "s")
    session.click((20, 20))
    session.commit()
    expected = session.labels.read()
    session.close()
    labels = tmp_path / "s" / "labels.zarr"
    if harm == "missing":
        labels.rename(tmp_path / "elsewhere")
    elif harm == "truncated chunk":
        chunk = labels / "0" / "c" / "0" / "0"
        chunk.write_bytes(chunk.read_bytes()[:10])
        (tmp_path / "s" / "applied.json").unlink()  # what a power cut before the sync leaves
    elif harm == "metadata":
        (labels / "zarr.json").write_text("{")
    else:
        zarr.open_array(labels / "0")[:] = 0
        (tmp_path / "s" / "applied.json").unlink()
    again = reopened(tmp_path / "s")
    np.testing.assert_array_equal(again.labels.read(), expected)
    assert again.labels.next_label() == 2


def test_a_full_disk_while_writing_labels_loses_nothing(tmp_path, monkeypatch):
    from zarr.storage import _local

    session = fake_session(journal=tmp_path / "s")
    first = session.click((20, 20))

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(_local, "_put", full)
        with pytest.raises(SaveError, match="No space left"):
            session.commit()
    np.testing.assert_array_equal(reopened(tmp_path / "s").labels.read() == 1, first)
    assert session.objects == {1: ((),)}


def test_after_a_full_disk_the_next_change_catches_up(tmp_path, monkeypatch):
    from zarr.storage import _local

    session = fake_session(journal=tmp_path / "s")
    first = session.click((20, 20))

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(_local, "_put", full)
        with pytest.raises(SaveError, match=r"is recorded: the rest .* with the next change"):
            session.commit()
    session.click((45, 45))
    np.testing.assert_array_equal(session.labels.read() == 1, first)


def test_a_full_disk_while_recording_means_nothing_happened(tmp_path, monkeypatch):
    import os

    session = fake_session(journal=tmp_path / "s")
    session.click((20, 20))

    def full(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(SaveError, match="was not done"):
            session.click((30, 30))
        with pytest.raises(SaveError):
            session.undo()
    assert session.clicks == (Click(20, 20),)
    session.click((40, 40))
    assert reopened(tmp_path / "s").clicks == (Click(20, 20), Click(40, 40))


def test_labels_elsewhere_and_their_space_are_found_again(tmp_path):
    store = LabelStore(IMAGE.shape, path=tmp_path / "mine.zarr", scale=(0.5, 0.5), units=("um", "um"))
    session = fake_session(labels=store, journal=tmp_path / "s")
    session.click((20, 20))
    session.commit()
    again = reopened(tmp_path / "s")
    assert again.labels.path == tmp_path / "mine.zarr"
    np.testing.assert_array_equal(again.labels.read(), store.read())
    memory = fake_session(labels=LabelStore(IMAGE.shape, scale=(2, 3)), journal=tmp_path / "t")
    memory.click((20, 20))
    memory.commit()
    copy = reopened(tmp_path / "t").labels
    assert copy.space.scale == (2, 3)
    np.testing.assert_array_equal(copy.read(), memory.labels.read())


def test_memory_does_not_grow_with_the_plane(tmp_path):
    image = zarr.create_array(
        zarr.storage.MemoryStore(), shape=(30_000, 30_000), chunks=(512, 512), dtype="u1"
    )
    session = fake_session(image, journal=tmp_path / "s")
    tracemalloc.start()
    session.append_click((15_000, 15_000), view=Window(14_000, 14_000, 16_001, 16_001))
    session.finish(session.job().run())
    session.commit()
    session.undo()
    session.redo()
    session.delete(1)
    session.close()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 * 2**20


def test_numbers_of_labels_end_where_uint32_ends(tmp_path):
    """Recorded, the number after the last one would make the session's folder unreadable."""
    session = fake_session(journal=tmp_path / "s")
    session.click((20, 20))
    assert session.commit(2**32 - 1) == 2**32 - 1
    session.click((45, 50))
    with pytest.raises(InputError, match="from 1 to 4294967295, got 4294967296"):
        session.commit(2**32)
    assert session.object_id == 1  # the lowest free one
    assert session.commit() == 1
    assert session.object_id == 2
    assert session.undo()
    session.close()
    session = reopened(tmp_path / "s")
    assert set(session.objects) == {2**32 - 1}
    assert session.object_id == 1


def test_the_lowest_free_label_is_none_that_the_labels_hold():
    store = LabelStore(IMAGE.shape)
    store.write(1, (), Window(0, 0, 2, 2), np.ones((2, 2), bool))
    session = fake_session(labels=store)
    session.click((20, 20))
    session.commit(2**32 - 1)
    session.click((45, 50))
    assert session.commit() == 2


@pytest.mark.parametrize("label", ["a", None, 1.5, float("nan"), float("inf"), True, 0, -1, 2**32])
def test_what_is_no_label_is_refused(label):
    with pytest.raises(InputError, match="whole number from 1"):
        checked_label(label)


def test_arguments_of_another_kind_are_refused_in_words():
    session = fake_session()
    session.click((20, 20))
    session.commit()
    session.click((45, 50))
    calls = (
        *(partial(session.delete, label) for label in (1.5, None, "x")),
        *(partial(session.move_click, index, (5, 5)) for index in (0.5, "a", None)),
        *(partial(session.remove_click, index) for index in (0.5, "a", None)),
        lambda: setattr(session, "threshold", "a"),
        lambda: session.set_mask([[1]]),
        lambda: session.set_mask(session.probability),
        *(partial(session.click, (5, 5), view=view) for view in ((0, 0, 9), (0, 0, 9, 9.5), 7)),
        lambda: fake_session(axes="zyx"),
        lambda: fake_session(labels=np.zeros(IMAGE.shape, np.uint32)),
    )
    words = (
        *("whole number", "between 0 and 1", "plane's shape", "into a LabelStore, got ndarray"),
        *("of a probability give", "four whole numbers", "no option 'axes'"),
    )
    for call in calls:
        with pytest.raises(InputError, match="|".join(words)):
            call()
    assert list(session.objects) == [1]
    assert session.click((5, 5), view=(0, 0, 60, 60)).any()
    session.set_mask(np.eye(*IMAGE.shape, dtype=bool).tolist())  # of numbers, though no array
    assert session.mask.sum() == min(IMAGE.shape)


@pytest.mark.parametrize("library", [torch.from_numpy, zarr.array, np.ndarray.tolist])
def test_masks_of_other_libraries_are_taken(library):
    session = fake_session()
    painted = np.eye(*IMAGE.shape, dtype=bool)
    session.set_mask(library(painted))
    np.testing.assert_array_equal(session.mask, painted)


def test_a_probability_of_torch_is_no_mask():
    with pytest.raises(InputError, match="must be bool, got float32; of a probability give"):
        fake_session().set_mask(torch.ones(IMAGE.shape))


def test_a_models_name_is_not_a_model():
    with pytest.raises(InputError, match=r"load_model\('cfr-icl-starter'\)"):
        fake_session(model="cfr-icl-starter")


def test_bands_taken_for_columns_are_explained():
    session = fake_session(np.zeros((40, 60, 5), np.uint8))
    with pytest.raises(InputError, match=r"image of 60 x 5 .*channel_axis=-1"):
        session.click((20, 20))


@pytest.mark.parametrize("again_on_disk", [False, True])
def test_labels_are_placed_anew_also_in_the_session_folder(tmp_path, again_on_disk):
    folder = tmp_path / "s"
    session = fake_session(journal=folder)
    session.click((10, 10))
    session.commit()
    if again_on_disk:  # its labels are in a file now
        session.close()
        session = reopened(folder)
    session.place(scale=(0.5, 0.25), translate=(7, 8), units=("um", "um"))
    expected = (session.labels.space, session.labels.read().tolist())
    session.close()
    opened = reopened(folder)
    assert (opened.labels.space, opened.labels.read().tolist()) == expected
    assert opened.labels.space.units == ("micrometer", "micrometer")
    with pytest.raises(InputError, match="one per axis"):
        opened.place(scale=(1, 2, 3))
    opened.close()
    shutil.rmtree(folder / "labels.zarr")  # made again from the journal
    assert reopened(folder).labels.space == expected[0]
