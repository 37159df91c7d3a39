"""Files and folders are replaced whole, and what killed processes left beside them goes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest
from filelock import FileLock, Timeout

from napari_iseg import files
from napari_iseg.errors import InputError, SaveError
from napari_iseg.files import (
    put_in_place,
    replacing,
    replacing_folder,
    sweep,
    temporary_beside,
    write_text,
)
from napari_iseg.locks import acquired

KILLED = """
import os, sys
from pathlib import Path
from napari_iseg.files import replacing, temporary_beside
path = Path(sys.argv[1])
temporary_beside(path).mkdir()
temporary_beside(path, "old").mkdir()
with replacing(path) as stream:
    stream.write(b"half")
    stream.flush()
    os._exit(9)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _half(stream: IO[bytes], error: Exception) -> None:
    stream.write(b"half")
    raise error


def killed_writer(path: Path) -> None:
    """A process that is killed while it writes ``path``; a part, a folder and what was there before stay."""
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False).returncode == 9


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_text(path, "ü")
    for error, told in ((InputError("No."), "No"), (OSError(5, "disk"), r"^\S+a.txt could not .* \(disk\)")):
        with pytest.raises((InputError, SaveError), match=told), replacing(path) as stream:
            _half(stream, error)
    assert path.read_text(encoding="utf-8") == "ü"
    assert names(path.parent) == ["a.txt"]
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match="could not be written"):
        write_text(tmp_path / "file" / "b.txt", "")


def test_the_next_write_of_a_name_sweeps_what_a_killed_process_left(tmp_path: Path) -> None:
    path = tmp_path / "a[1].tif"
    write_text(path, "whole")
    killed_writer(path)
    assert len(names(tmp_path)) == 4
    assert path.read_text() == "whole"
    write_text(tmp_path / "other.tif", "")
    assert len(names(tmp_path)) == 5, "of another name"
    write_text(path, "new")
    assert names(tmp_path) == ["a[1].tif", "other.tif"]


def test_what_was_there_before_is_put_back_where_a_process_was_killed_between_two_renames(
    tmp_path: Path,
) -> None:
    killed_writer(tmp_path / "a.zarr")
    assert len(names(tmp_path)) == 3
    sweep(tmp_path)
    assert names(tmp_path) == ["a.zarr"]
    assert (tmp_path / "a.zarr").is_dir()


def test_what_is_being_written_here_or_elsewhere_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    mine = temporary_beside(path)
    machine, process = mine.name.split(".")[3].split("-")[:2]
    assert process == str(os.getpid())
    assert mine != temporary_beside(path)
    assert mine.suffix == ".zarr"
    elsewhere = mine.with_name(mine.name.replace(machine, "0" * 8).replace(process, "999999999"))
    alike = tmp_path / ".a.zarr.99-part"
    for other in (mine, elsewhere, alike):
        other.mkdir()
    write_text(path, "")
    assert names(tmp_path) == sorted(["a.zarr", mine.name, elsewhere.name, alike.name])


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m"
    for text in ("old", "new"):
        with replacing_folder(path) as fresh:
            write_text(fresh / "a", text)
    assert (names(tmp_path), names(path), (path / "a").read_text()) == (["m"], ["a"], "new")
    with pytest.raises(InputError), replacing_folder(path):
        raise InputError("No.")
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if "part" in self.name:
            raise OSError(5, "disk")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(SaveError, match=r"^\S+m could not be written \(disk\)"), replacing_folder(path):
        pass
    assert (names(tmp_path), (path / "a").read_text()) == (["m"], "new")


def test_a_folder_that_is_a_link_is_replaced_where_it_lies(tmp_path: Path) -> None:
    disk, link = tmp_path / "disk" / "m", tmp_path / "home" / "m"
    disk.mkdir(parents=True)
    link.parent.mkdir()
    link.symlink_to(disk)
    with replacing_folder(link) as fresh:
        write_text(fresh / "a", "new")
    assert link.is_symlink()
    assert (names(link.parent), names(disk.parent), (disk / "a").read_text()) == (["m"], ["m"], "new")


def test_what_a_link_names_is_replaced_even_if_it_is_missing(tmp_path: Path) -> None:
    disk, home = tmp_path / "disk", tmp_path / "home"
    disk.mkdir()
    home.mkdir()
    for name in ("a.json", "b.zarr"):
        (home / name).symlink_to(disk / name)
    for text in ("new", "newer"):
        write_text(home / "a.json", text)
        fresh = temporary_beside(home / "b.zarr")
        fresh.mkdir()
        write_text(fresh / "a", text)
        put_in_place(fresh, home / "b.zarr")
        assert (disk / "a.json").read_text() == (disk / "b.zarr" / "a").read_text() == text
    assert names(disk) == names(home) == ["a.json", "b.zarr"]
    assert all(path.is_symlink() for path in home.iterdir())
    (home / "loop").symlink_to(home / "loop")
    with pytest.raises(SaveError, match=r"loop could not be written"), replacing_folder(home / "loop"):
        pass


@pytest.mark.skipif(os.name == "nt", reason="no such rights there")
def test_who_may_read_and_write_stays_and_what_is_new_is_of_the_umask(tmp_path: Path) -> None:
    file, folder = tmp_path / "a.txt", tmp_path / "m"
    before = os.umask(0o027)
    try:
        for expected in ([0o640, 0o640, 0o750], [0o664, 0o640, 0o775]):
            write_text(file, "")
            with replacing(tmp_path / "new.npz", new=True, synced=False) as stream:
                stream.write(b"x")
            with replacing_folder(folder) as fresh:
                write_text(fresh / "a", "")
            rights = [path.stat().st_mode & 0o777 for path in (file, tmp_path / "new.npz", folder)]
            assert rights == expected
            (tmp_path / "new.npz").unlink()
            file.chmod(0o664)
            folder.chmod(0o775)
    finally:
        os.umask(before)


def test_what_can_neither_be_replaced_nor_put_back_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "m" / "a", "old")
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if target.name == "m":
            raise PermissionError(13, "Access is denied")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(SaveError) as refusal, replacing_folder(tmp_path / "m"):
        pass
    (left,) = tmp_path.iterdir()
    assert f"could not be put back (Access is denied): it is {left} now." in str(refusal.value)
    assert (left / "a").read_text() == "old"


@pytest.mark.parametrize("name", ["m", "m.zarr", ".m.zarr", "m.x.tif"])
def test_the_temporary_name_of_a_temporary_name_is_no_longer(tmp_path: Path, name: str) -> None:
    first = temporary_beside(tmp_path / name)
    again = temporary_beside(first)
    assert again != first
    assert len(again.name) == len(first.name)
    for path, kind in ((again, "part"), (temporary_beside(again, "old"), "old")):
        path.mkdir()
        (entry,) = files.hidden_in(tmp_path, name)
        assert (entry.place, entry.kind) == (tmp_path / name, kind)
        path.rmdir()


def test_machines_and_containers_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.zarr"
    seen = {temporary_beside(path).name.split(".")[3].split("-")[0]}
    for name, value in (("readlink", Path("pid:[7]")), ("read_text", "another start")):
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(Path, name, lambda *_, value=value, **__: value)
            seen.add(temporary_beside(path).name.split(".")[3].split("-")[0])
    assert len(seen) == (3 if Path("/proc/self/ns/pid").is_symlink() else 1)


def test_what_another_machine_moved_away_and_lost_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(files, "_machine", lambda: "0" * 8)
        temporary_beside(tmp_path / "m", "old").mkdir()
        part = temporary_beside(tmp_path / "m")
        part.mkdir()
    sweep(tmp_path)
    assert names(tmp_path) == sorted(["m", part.name])


def test_a_new_name_costs_no_look_through_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "hidden_in", lambda *_: pytest.fail("it looked"))
    write_text(tmp_path / "a.tif", "")


@pytest.mark.parametrize("code", ["ENOLCK", "ENOSYS", "EOPNOTSUPP", "ENOTSUP", "EINVAL"])
def test_a_file_system_that_refuses_locks_does_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise OSError(getattr(errno, code), "refused")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    assert acquired(tmp_path / "lock") is None


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("code", ["ENOSYS", "EOPNOTSUPP"])
def test_the_file_of_an_earlier_lock_is_no_lock_where_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    fcntl = pytest.importorskip("fcntl")
    lock = acquired(tmp_path / "lock")
    assert lock is not None
    lock.release()
    (tmp_path / "lock").touch()

    def refuse(*_args: object) -> None:
        raise OSError(getattr(errno, code), "refused")

    monkeypatch.setattr(fcntl, "flock", refuse)
    for name in ("lock", "lock", "new", "new"):
        assert acquired(tmp_path / name, 0) is None


def test_a_lock_that_somebody_has_or_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    lock = acquired(tmp_path / "lock")
    assert lock is not None
    with pytest.raises(Timeout):
        acquired(tmp_path / "lock", 0)
    lock.release()
    with pytest.raises(OSError, match="directory"):
        acquired(tmp_path)
