"""A folder that is locked may be taken away by another process at any moment until it is."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from napari_iseg.errors import SaveError
from napari_iseg.locks import FolderLock


def test_a_folder_that_goes_while_it_is_made_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real, left = tmp_path / "m", os.mkdir, [FileExistsError(errno.EEXIST, "File exists")]

    def mkdir(path: Path, *options: int) -> None:
        if path == folder and left:  # there for mkdir, and gone when pathlib looks
            raise left.pop()
        real(path, *options)

    monkeypatch.setattr(os, "mkdir", mkdir)
    lock = FolderLock(folder, "busy", "choose another")
    assert (left, folder.is_dir()) == ([], True)
    lock.release()
    assert not folder.exists()


def test_a_file_in_its_place_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "m").touch()
    before = time.monotonic()
    with pytest.raises(SaveError, match=r"m cannot be used \(.*exists.*\); choose another"):
        FolderLock(tmp_path / "m", "busy", "choose another")
    assert time.monotonic() - before < 0.9
