"""The journal survives what happens to files."""

from __future__ import annotations

import errno
import os
import shutil

import pytest
from filelock import FileLock

from napari_iseg.errors import InputError, SaveError
from napari_iseg.labels.journal import Journal


def bodies(path) -> list[dict]:
    journal = Journal(path)
    journal.close()
    return [record.body for record in journal.records]


def test_records_come_back_in_order_and_numbered(tmp_path):
    journal = Journal(tmp_path / "j.jsonl")
    assert [journal.append({"a": 1 / 3}), journal.append({"b": "ä"})] == [1, 2]
    journal.close()
    again = Journal(tmp_path / "j.jsonl")
    assert [record.body for record in again.records] == [{"a": 1 / 3}, {"b": "ä"}]
    assert again.append({"c": 3}) == 3
    assert again.note == ""
    again.close()


def test_every_torn_end_is_dropped_with_a_note_and_work_goes_on(tmp_path):
    path = tmp_path / "j.jsonl"
    journal = Journal(path)
    journal.append({"first": 1})
    whole = path.stat().st_size
    journal.append({"second": "x" * 20})
    journal.close()
    content = path.read_bytes()
    for end in range(whole, len(content)):
        path.write_bytes(content[:end])
        torn = Journal(path)
        assert [record.body for record in torn.records] == [{"first": 1}]
        assert bool(torn.note) == (end > whole)
        torn.append({"next": end})
        torn.close()
        assert bodies(path) == [{"first": 1}, {"next": end}]


def test_a_last_line_with_a_wrong_checksum_is_dropped(tmp_path):
    path = tmp_path / "j.jsonl"
    journal = Journal(path)
    journal.append({"value": 1})
    journal.append({"value": 2})
    journal.close()
    path.write_bytes(path.read_bytes().replace(b'"value":2', b'"value":3'))
    assert bodies(path) == [{"value": 1}]


def test_damage_in_the_middle_is_refused_and_nothing_is_changed(tmp_path):
    path = tmp_path / "j.jsonl"
    journal = Journal(path)
    for value in range(3):
        journal.append({"value": value})
    journal.close()
    damaged = path.read_bytes().replace(b'"value":1', b'"value":7')
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="damaged at line 2"):
        Journal(path)
    assert path.read_bytes() == damaged


def test_a_full_disk_leaves_whole_records_only(tmp_path, monkeypatch):
    path = tmp_path / "j.jsonl"
    journal = Journal(path)
    journal.append({"value": 1})
    real, calls = os.write, []

    def half_then_full(file, data):
        calls.append(len(data))
        if len(calls) == 1:
            return real(file, data[:5])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", half_then_full)
    with pytest.raises(SaveError, match="No space left"):
        journal.append({"value": 2})
    monkeypatch.undo()
    assert journal.append({"value": 3}) == 2
    journal.close()
    assert bodies(path) == [{"value": 1}, {"value": 3}]


def test_a_second_writer_is_noticed(tmp_path):
    first, second = Journal(tmp_path / "j.jsonl"), Journal(tmp_path / "j.jsonl")
    second.append({"value": 1})
    with pytest.raises(SaveError, match="another program"):
        first.append({"value": 2})
    first.close()
    second.close()


def test_what_is_no_file_is_a_save_error(tmp_path):
    with pytest.raises(SaveError, match="directory"):
        Journal(tmp_path)


def test_where_nothing_may_be_written_a_way_out_is_named(tmp_path, monkeypatch):
    def forbidden(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("napari_iseg.labels.journal.os.open", forbidden)
    with pytest.raises(SaveError, match=r"Permission denied; allow writing in .*, or copy that folder"):
        Journal(tmp_path / "j.jsonl")


@pytest.mark.parametrize("act", ["replaced", "removed", "folder removed"])
def test_a_journal_that_is_replaced_or_removed_takes_no_more_records(tmp_path, act):
    path = tmp_path / "s" / "j.jsonl"
    path.parent.mkdir()
    journal = Journal(path, shared=True)
    journal.append({"value": 1})
    if act == "replaced":
        shutil.copy(path, tmp_path / "copy")
        (tmp_path / "copy").replace(path)
    elif act == "removed":
        path.unlink()
    else:
        shutil.rmtree(path.parent)
    assert journal.outdated
    with pytest.raises(SaveError, match="changed by another" if act == "replaced" else "moved or removed"):
        journal.append({"value": 2})
    assert path.parent.exists() == (act != "folder removed")
    journal.close()


def test_processes_wait_for_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_iseg.labels.journal._PATIENCE", 0.1)
    journal = Journal(tmp_path / "j.jsonl", shared=True)
    with FileLock(tmp_path / ".j.jsonl.lock"):  # as another one does while it appends
        for work in (lambda: journal.append({"value": 1}), lambda: Journal(journal.path, shared=True)):
            with pytest.raises(SaveError, match="in use by another program; close it there"):
                work()
    assert journal.append({"value": 1}) == 1
    journal.close()


def test_a_file_system_without_locks_takes_journals_too(tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    journal = Journal(tmp_path / "j.jsonl", shared=True)
    assert journal.append({"value": 1}) == 1
    journal.close()


def test_the_record_is_synced_before_append_returns(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "j.jsonl")
    sizes = []
    monkeypatch.setattr(os, "fsync", lambda file: sizes.append(os.fstat(file).st_size))
    journal.append({"value": 1})
    assert sizes == [(tmp_path / "j.jsonl").stat().st_size]
    journal.close()
