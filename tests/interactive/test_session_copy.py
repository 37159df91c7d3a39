"""A session copied elsewhere is the same session, and comes whole or not at all."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from session_fakes import FakeModel, FakePredictor

from napari_iseg.errors import InputError, SaveError
from napari_iseg.interactive.session import Session
from napari_iseg.interactive.session_copy import copy_session
from napari_iseg.interactive.session_folder import SessionFolder, read_info
from napari_iseg.labels.store import LabelStore

IMAGE = np.zeros((24, 28), np.uint8)
MODEL = FakeModel(radius=4)


@pytest.fixture
def session(tmp_path):
    with Session(
        IMAGE,
        MODEL,
        journal=tmp_path / "first",
        image_path="/images/a.tif",
        image_record={"name": "a", "reader": "", "sample": ["plugin", "key"]},
        make_predictor=FakePredictor,
    ) as made:
        made.click((9, 11))
        made.commit()
        made.click((16, 20))
        made.click((3, 23), positive=False)
        yield made


def test_a_copy_opens_as_the_session_was_and_parts_from_it(session, tmp_path):
    target = copy_session(session.folder, tmp_path / "deep" / "copy.iseg")
    mask, labels, records = (
        session.mask,
        session.labels.read(),
        (session.folder / "journal.jsonl").read_bytes(),
    )
    with Session.open(target, IMAGE, MODEL, make_predictor=FakePredictor) as copy:
        np.testing.assert_array_equal(copy.mask, mask)
        np.testing.assert_array_equal(copy.labels.read(), labels)
        assert copy.clicks == session.clicks
        assert copy.recorded_model[0] == "fake"
        for _ in range(4):
            assert copy.undo()
        assert not copy.undo()
        assert not copy.labels.read().any()
    assert (session.folder / "journal.jsonl").read_bytes() == records
    assert sorted(path.name for path in target.parent.iterdir()) == ["copy.iseg"]


@pytest.mark.parametrize(
    "recorded", [{"threshold": 0.4}, {"threshold": 0.4, "thin": "thin-starter", "search_twice": True}]
)
def test_a_session_of_before_there_were_some_settings_goes_on_without_them(tmp_path, recorded):
    folder = SessionFolder.create(tmp_path / "old", {"image": {}, "labels": {"shape": [24, 28]}})
    folder.journal.append({"start": {"plane": [], "next_label": 1}})
    folder.journal.append({"model": {"name": "cfr-icl-starter", "inference": recorded}})
    folder.journal.close()
    assert SessionFolder.open(tmp_path / "old").replay().inference == {
        "thin": "",
        "small": "",
        "search_twice": False,
        "search_coarse": 0,
        "search_stability": True,
        "search_rethink": False,
        **recorded,
    }


def test_what_is_known_of_the_image_is_recorded(session):
    known = read_info(session.folder)["image"]
    assert (known["path"], known["name"], known["sample"]) == ("/images/a.tif", "a", ["plugin", "key"])
    assert "reader" not in known


def test_refusals(session, tmp_path, monkeypatch):
    (tmp_path / "taken").mkdir()
    with pytest.raises(InputError, match="exists already"):
        copy_session(session.folder, tmp_path / "taken")
    with pytest.raises(InputError, match="inside the session itself"):
        copy_session(session.folder, session.folder / "more" / "copy")
    assert not (session.folder / "more").exists()
    with pytest.raises(InputError, match="not a session folder"):
        copy_session(tmp_path / "taken", tmp_path / "new")
    elsewhere = LabelStore(IMAGE.shape, path=tmp_path / "labels.zarr")
    Session(IMAGE, MODEL, labels=elsewhere, journal=tmp_path / "second").close()
    with pytest.raises(InputError, match=r"labels.zarr; copy them"):
        copy_session(tmp_path / "second", tmp_path / "new")

    with pytest.raises(SaveError, match="File name too long; choose another name"):
        copy_session(session.folder, tmp_path / ("a" * 300))

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SaveError, match="No space left"):
        copy_session(session.folder, tmp_path / "new")
    assert sorted(tmp_path.iterdir()) == before
