"""What may not replace anything gets its name or leaves nothing; a place that cannot be is refused."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from napari_iseg.errors import InputError, SaveError
from napari_iseg.files import check_place, replacing, replacing_folder
from napari_iseg.labels.store import LabelStore


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space"), KeyboardInterrupt()])
def test_a_name_that_cannot_be_given_stays_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    """Without hard links, as on memory sticks, an empty file keeps the name for a moment."""

    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(os, "link", no_links)
    with monkeypatch.context() as full:
        full.setattr(Path, "replace", fail)
        with pytest.raises((SaveError, KeyboardInterrupt)), replacing(tmp_path / "a.png", new=True):
            pass
    assert list(tmp_path.iterdir()) == []
    with replacing(tmp_path / "a.png", new=True) as stream:
        stream.write(b"x")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.png", b"x")]


def test_an_empty_folder_made_meanwhile_is_left(tmp_path: Path) -> None:
    refused = pytest.raises(InputError, match="somebody made it meanwhile")
    with refused, replacing_folder(tmp_path / "m", new=True) as fresh:
        (fresh / "a").touch()
        (tmp_path / "m").mkdir()
    assert list(tmp_path.rglob("*")) == [tmp_path / "m"]


def test_a_place_in_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ff.txt").touch()
    for place in ("ff.txt/x.tif", "ff.txt/deeper/x.tif"):
        with pytest.raises(SaveError, match=r"no folder \S+ff\.txt; choose another place for x\.tif"):
            check_place(tmp_path / place)
    with pytest.raises(SaveError, match=r"no folder \S+ff\.txt"):
        LabelStore((4, 4), path=tmp_path / "ff.txt" / "l.zarr")


def test_a_drive_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Z: on Windows, which lies in nothing."""
    looks = iter(range(100))

    def missing(_: object) -> bool:
        next(looks)
        return False

    monkeypatch.setattr(os.path, "exists", missing)
    monkeypatch.setattr(Path, "is_dir", missing)
    with pytest.raises(SaveError, match=r"no folder \S+; choose another place for x\.tif"):
        check_place(Path("/data/x.tif"))
