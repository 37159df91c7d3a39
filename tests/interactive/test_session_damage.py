"""What happens to a session's folder while nobody looks, and to a session that many use at once."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from numcodecs import Zstd
from session_fakes import FakeModel, FakePredictor

from napari_iseg.errors import DamageError, InputError, IsegError, SaveError
from napari_iseg.interactive.label_check import _is_frame
from napari_iseg.interactive.session import Session
from napari_iseg.interactive.session_folder import APPLIED, INFO, JOURNAL, LABELS
from napari_iseg.interactive.session_setup import _info
from napari_iseg.labels.journal import Journal
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Window

IMAGE = np.zeros((600, 70), np.uint8)  # two chunks, two levels


def fake_session(folder, image=IMAGE, **options) -> Session:
    return Session(image, FakeModel(), journal=folder, make_predictor=FakePredictor, **options)


def reopened(folder, image=IMAGE) -> Session:
    return Session.open(folder, image, FakeModel(), make_predictor=FakePredictor)


def levels(session: Session) -> list[bytes]:
    return [level[:].tobytes() for level in session.labels.levels]


@pytest.fixture
def folder(tmp_path):
    """Of a closed session with three objects, in two chunks."""
    with fake_session(tmp_path / "s") as session:
        for row in (20, 30, 560):
            session.click((row, 20))
            session.commit()
    return tmp_path / "s"


@pytest.mark.parametrize("chunk", ["0/c/0/0", "0/c/1/0", "1/c/0/0"])
@pytest.mark.parametrize("harm", ["delete", "empty", "half", "zeros", "append"])
def test_damaged_labels_are_made_again_and_told_of(folder, chunk, harm):
    with reopened(folder) as session:
        assert session.note == ""
        expected = levels(session)
    file = folder / LABELS / chunk
    content = file.read_bytes()
    if harm == "delete":
        file.unlink()
    else:
        harmed = {"empty": b"", "half": content[: len(content) // 2], "zeros": bytes(len(content))}
        file.write_bytes(harmed.get(harm, content + b"xyz"))
    with reopened(folder) as session:
        assert "damaged or missing and have been made again" in session.note
        assert f"what there was is kept as {folder / 'labels-8-1.zarr'}." in session.note
        assert levels(session) == expected
    with reopened(folder) as session:
        assert session.note == ""


def test_labels_that_can_be_read_are_as_their_user_wants_them(folder, monkeypatch):
    window = Window(15, 0, 40, 70)
    with reopened(folder) as session:
        session.labels.erase(1)
        session.labels.put((), window, np.full(window.shape, 9, np.uint32))
        mine = levels(session)
    with monkeypatch.context() as unread:
        unread.setattr("numcodecs.zstd.Zstd.decode", lambda *_: pytest.fail("a chunk was decoded"))
        reopened(folder).close()
    store = LabelStore.open(folder / LABELS)
    store.put((), window, np.full(window.shape, 8, np.uint32))
    with reopened(folder) as session:
        assert session.note == ""
        assert levels(session) != mine
        assert set(np.unique(session.labels.read())) == {0, 3, 8}


@pytest.mark.parametrize("shape", [(2, 60, 70), (1100, 1100)])
def test_objects_that_were_erased_by_hand_do_not_come_back(tmp_path, shape):
    image = np.zeros(shape, np.uint8)
    places = ((0, 20, 20), (1, 20, 20)) if len(shape) == 3 else ((20, 20), (1080, 1080), (20, 800))
    with fake_session(tmp_path / "s", image) as session:
        for place in places:
            session.click(place)
            session.commit()
    rest = list(range(1, len(places) + 1))
    for label in (1, 2):  # until nothing is left of two planes, and one chunk in four of the other image
        store = LabelStore.open(tmp_path / "s" / LABELS)
        store.erase(label)
        store.flush()
        rest.remove(label)
        with reopened(tmp_path / "s", image) as session:
            assert session.note == ""
            assert sorted(set(np.unique(session.labels.levels[0])) - {0}) == rest
    shutil.rmtree(tmp_path / "s" / LABELS / "0" / "c")
    with reopened(tmp_path / "s", image) as session:
        assert "damaged or missing and have been made again" in session.note
        assert session.labels.labels == tuple(range(1, len(places) + 1))


@pytest.mark.parametrize(("shape", "chunk"), [((3, 60, 70), "0/c/1/0/0"), ((1100, 1100), "0/c/0/0")])
def test_a_lost_file_is_told_from_an_erased_one(tmp_path, shape, chunk):
    """Also where no other level shows it: there is none, or the object lies between its pixels."""
    mask = np.zeros(shape[-2:], bool)
    mask[21:41:2, 21:41:2] = True
    with fake_session(tmp_path / "s", np.zeros(shape, np.uint8)) as session:
        session.plane = (1,) * (len(shape) - 2)
        session.set_mask(mask)
        session.commit()
        expected = levels(session)
    shutil.copytree(tmp_path / "s", tmp_path / "erased")
    (tmp_path / "s" / LABELS / chunk).unlink()
    with reopened(tmp_path / "s", np.zeros(shape, np.uint8)) as session:
        assert "damaged or missing and have been made again" in session.note
        assert levels(session) == expected
    with reopened(tmp_path / "erased", np.zeros(shape, np.uint8)) as session:
        session.labels.levels[0][...] = 0  # as napari's eraser does it
    with reopened(tmp_path / "erased", np.zeros(shape, np.uint8)) as session:
        assert session.note == ""
        assert not session.labels.levels[0][:].any()


def test_a_chunk_that_an_object_only_goes_round_may_be_missing(tmp_path):
    image = np.zeros((1100, 1100), np.uint8)
    mask = np.eye(1100, dtype=bool)
    with fake_session(tmp_path / "s", image) as session:
        session.set_mask(mask)
        session.commit()
    assert not (tmp_path / "s" / LABELS / "0/c/0/1").exists()
    with reopened(tmp_path / "s", image) as session:
        assert session.note == ""


def test_frames_are_told_whole_from_cut_off():
    random = np.random.default_rng(0)
    for content in (b"", b"x", bytes(10**6), random.bytes(300_000), b"ab" * 40_000):
        for checksum in (False, True):
            frame = bytes(Zstd(checksum=checksum).encode(content))
            assert _is_frame(frame)
            assert not any(_is_frame(frame[:end]) for end in (0, 3, 5, 7, len(frame) // 2, len(frame) - 1))
            assert not _is_frame(frame + b"x")


def test_damage_that_shows_on_reading_is_told_with_its_remedy(folder):
    session = reopened(folder)
    file = folder / LABELS / "0/c/0/0"
    file.write_bytes(file.read_bytes()[:20])
    for act in (
        lambda: session.labels.read(),
        lambda: session.labels.put((), Window(0, 0, 9, 9), np.ones((9, 9), np.uint32)),
        lambda: session.reopen(1),
        session.close,
    ):
        with pytest.raises(DamageError, match=r"labels\.zarr are damaged .*; close the session, delete"):
            act()
    shutil.rmtree(folder / LABELS)
    with reopened(folder) as session:
        assert list(session.objects) == [2, 3]
        assert np.isin([2, 3], session.labels.read()).all()


def test_labels_that_know_more_than_an_older_journal_are_kept(folder):
    journal = folder / JOURNAL
    newer = journal.read_bytes()
    journal.write_bytes(b"".join(newer.splitlines(keepends=True)[:4]))
    with reopened(folder) as session:
        assert list(session.objects) == [1]
        assert f"are kept as {folder / 'labels-8-1.zarr'}; put the newer journal back" in session.note
    assert LabelStore.open(folder / "labels-8-1.zarr").labels == (1, 2, 3)
    journal.write_bytes(newer)
    with reopened(folder) as session:
        assert list(session.objects) == [1, 2, 3]


def test_a_session_whose_folder_is_gone_says_so_and_makes_none(tmp_path):
    session = fake_session(tmp_path / "s")
    shutil.rmtree(tmp_path / "s")
    assert session.outdated
    for act in (lambda: session.click((20, 20)), lambda: session.place(scale=(2, 2)), session.close):
        with pytest.raises(SaveError, match="moved or removed by another program"):
            act()
    session.close()
    assert list(tmp_path.iterdir()) == []


def test_many_threads_leave_a_session_as_one_would(tmp_path):
    session = fake_session(tmp_path / "s")

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        for _ in range(15):
            point = random.integers(0, IMAGE.shape)
            acts = (lambda at=point: session.click(at), session.commit, session.undo, session.redo)
            with suppress(IsegError):
                acts[random.choice(4, p=(0.5, 0.3, 0.1, 0.1))]()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    expected = session.objects, levels(session)
    session.close()
    with reopened(tmp_path / "s") as again:
        assert (again.objects, levels(again), again.note) == (*expected, "")


@pytest.mark.parametrize("content", [b"", b'{"seq":1,"cr', bytes(200)])
def test_a_session_that_was_killed_while_it_was_made_does_not_block_its_name(tmp_path, content):
    fake_session(tmp_path / "s").close()
    (tmp_path / "s" / JOURNAL).write_bytes(content)
    shutil.rmtree(tmp_path / "s" / LABELS)
    with pytest.raises(InputError, match="holds no session: nothing was recorded in it; begin a new one"):
        reopened(tmp_path / "s")
    with fake_session(tmp_path / "s") as session:
        assert session.note == ""


def test_a_session_that_cannot_be_made_leaves_nothing(tmp_path, monkeypatch):
    def full(*_args, **_options):
        raise SaveError("The disk is full.")

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    for name in ("new", "mine"):
        for owner, part in ((Journal, "append"), (LabelStore, "__init__")):
            with monkeypatch.context() as patch:
                patch.setattr(owner, part, full)
                with pytest.raises(SaveError, match="disk is full"):
                    fake_session(tmp_path / name)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "notes.txt"]


def test_a_session_that_is_refused_leaves_the_one_that_was_faster(tmp_path, monkeypatch):
    faster = []

    def info(*given):
        monkeypatch.undo()
        faster.append(fake_session(tmp_path / "s"))
        return _info(*given)

    monkeypatch.setattr("napari_iseg.interactive.session_setup._info", info)
    with pytest.raises(InputError, match="already holds a session"):
        fake_session(tmp_path / "s")

    def journal(*given, **options):
        monkeypatch.undo()
        made = Journal(*given, **options)
        faster.append(fake_session(tmp_path / "t"))
        return made

    monkeypatch.setattr("napari_iseg.interactive.session_folder.Journal", journal)
    with pytest.raises(SaveError, match="changed by another program"):
        fake_session(tmp_path / "t")
    for session in faster:
        session.click((20, 20))
        session.commit()
        session.close()
        with reopened(session.folder) as again:
            assert (list(again.objects), again.note) == ([1], "")


def test_labels_of_more_axes_than_ome_zarr_holds_are_made_again_from_the_record(tmp_path):
    image = np.zeros((1, 2, 1, 1, 60, 70), np.uint8)
    with fake_session(tmp_path / "s", image) as session:
        session.click((0, 1, 0, 0, 20, 20))
        session.commit()
        expected = levels(session)
    with reopened(tmp_path / "s", image) as again:
        assert (levels(again), again.labels.path, again.note) == (expected, None, "")
        assert again.undo()


def test_the_journal_is_closed_though_the_labels_cannot_be_written(tmp_path, monkeypatch):
    session = fake_session(tmp_path / "s")

    def full(*_args):
        raise SaveError("The disk is full.")

    monkeypatch.setattr(LabelStore, "flush", full)
    with pytest.raises(SaveError, match="disk is full"):
        session.close()
    assert session._ledger.folder.journal.closed


@pytest.mark.parametrize(
    "text", ["", "format = 1\n[labels]\nshape = [600, 70]\n", "[image]\n", "labels = 3\n[image]\n"]
)
def test_a_session_file_without_its_tables_is_called_damaged(folder, text):
    (folder / INFO).write_text(text)
    with pytest.raises(InputError, match=r"session\.toml is damaged: it does not say what image and labels"):
        reopened(folder)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"do": {"kind": "commit", "plane": [], "label": 2**33, "region": []}}, "A label is a whole number"),
        ({"threshold": {"value": "x"}}, "The threshold must be a number between 0 and 1"),
    ],
)
def test_values_that_cannot_be_are_named_with_their_record(folder, body, words):
    journal = Journal(folder / JOURNAL)
    number = journal.append(body)
    journal.close()
    with pytest.raises(InputError, match=f"Record {number} .* cannot be understood .{words}"):
        reopened(folder)


def test_what_killed_processes_left_is_swept_on_opening(folder, monkeypatch):
    monkeypatch.setattr("os.getpid", lambda: 2**22 + 1)  # above every process there can be
    from napari_iseg.files import temporary_beside

    left = [temporary_beside(folder / name) for name in (INFO, APPLIED)]
    monkeypatch.undo()
    for path in left:
        path.write_text("half")
    reopened(folder).close()
    assert not any(path.exists() for path in left)
