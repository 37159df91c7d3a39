"""What a label store is given is checked: no half pixel and no raw error gets through."""

from __future__ import annotations

import numpy as np
import pytest

from napari_iseg.errors import InputError, SaveError
from napari_iseg.labels import export
from napari_iseg.labels.checks import checked_label
from napari_iseg.labels.export import export_labels
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Window

SQUARE, WINDOW = np.ones((5, 5), bool), Window(0, 0, 5, 5)


@pytest.mark.parametrize(
    ("plane", "window", "mask", "words"),
    [
        ((0,), WINDOW, SQUARE * 0.4, "must be bool, got float64"),
        ((0,), WINDOW, None, "has the shape"),
        ((0,), (0, 0, 5), SQUARE, "four whole numbers"),
        ((0,), Window(0.5, 0, 5, 5), SQUARE, "four whole numbers"),
        (0, WINDOW, SQUARE, "1 whole number"),
        (("a",), WINDOW, SQUARE, "1 whole number"),
        ((0.5,), WINDOW, SQUARE, "1 whole number"),
        ((2,), WINDOW, SQUARE, "is not in labels"),
    ],
)
def test_what_cannot_be_written_is_refused_and_nothing_is_painted(plane, window, mask, words):
    store = LabelStore((2, 30, 30))
    with pytest.raises(InputError, match=words):
        store.write(1, plane, window, mask)
    assert not store.read((0,)).any()
    assert store.labels == ()


def test_plain_numbers_are_taken_as_a_session_takes_them(tmp_path):
    store = LabelStore(np.array([2, 30, 30]), path=tmp_path / "l.zarr")
    store.write(1, [np.int64(1)], (2, 3, 4, 5), [[0, 255], [1, 1]])
    assert np.argwhere(store.read((1,), np.array([0, 0, 9, 9]))).tolist() == [[2, 4], [3, 3], [3, 4]]
    (trace,) = store.traces_of(1)
    assert (trace.plane, trace.window) == ((1,), Window(2, 3, 4, 5))
    store.flush()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shape": 3}, "rows and columns"),
        ({"shape": "ab"}, "rows and columns"),
        ({"shape": (2.5, 3)}, "whole numbers"),
        ({"axes": 5}, "one entry per axis"),
        ({"scale": 5}, "one entry per axis"),
        ({"chunks": 2.5}, "one whole number or 2"),
        ({"chunks": (2, 2.5)}, "one whole number or 2"),
    ],
)
def test_a_store_that_cannot_be_is_not_made(tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        LabelStore(**{"shape": (9, 9), "path": tmp_path / "l.zarr"} | options)
    assert not list(tmp_path.iterdir())


def test_questions_about_no_label_are_refused():
    store = LabelStore((9, 9))
    for ask in (store.erase, store.prompts_of):
        with pytest.raises(InputError, match="A label is a whole number"):
            ask([1])


@pytest.mark.parametrize(
    "label", [np.array([1, 2]), np.array([1]), [1], [[1], [2, 3]], True, np.True_, np.array(True), "1", 2**70]
)
def test_no_label_is_refused_as_one(label):
    with pytest.raises(InputError, match="A label is a whole number from 1 to"):
        checked_label(label)


@pytest.mark.parametrize("label", [3, np.uint8(3), np.array(3), 3.0, np.float32(3)])
def test_a_number_of_any_kind_is_a_label(label):
    assert checked_label(label) == 3


def test_only_a_label_store_is_saved(tmp_path):
    with pytest.raises(InputError, match=r"from a LabelStore, got a ndarray"):
        export_labels(np.zeros((9, 9), np.uint32), tmp_path / "l.tif")


@pytest.mark.parametrize("name", ["l.tif", "l.zarr", "l.gpkg", "new/l.png"])
def test_a_folder_that_may_not_be_written_to_is_named(tmp_path, monkeypatch, name):
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(SaveError) as refusal:
        export_labels(LabelStore((9, 9)), tmp_path / name)
    last = name.rpartition("/")[2]
    assert (
        str(refusal.value) == f"The folder {tmp_path} cannot be written to; choose another place for {last}."
    )
    with pytest.raises(SaveError, match="cannot be written to"):
        LabelStore((9, 9), path=tmp_path / "l.zarr")


def test_a_hidden_name_is_none_of_the_users(tmp_path, monkeypatch):
    def full(_labels, path):
        raise OSError(f"sqlite3_open({path}) failed: unable to open database file")

    monkeypatch.setitem(export._WRITERS, ".png", full)
    with pytest.raises(SaveError) as refusal:
        export_labels(LabelStore((9, 9)), tmp_path / "l.png")
    assert f"sqlite3_open({tmp_path / 'l.png'}) failed" in str(refusal.value)
    assert ".part" not in str(refusal.value)
