"""Arrays in a folder: exact, under a limit, shared by processes, unharmed by damage."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from napari_iseg.disk_cache import DiskCache
from napari_iseg.errors import SaveError
from napari_iseg.files import temporary_beside

ONE = {"a": np.zeros(1000, np.uint8)}  # some 1500 bytes as a file


def test_arrays_come_back_to_the_bit_with_their_dtypes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kept = {
        "half": rng.normal(size=(3, 4)).astype(np.float16),
        "float": rng.normal(size=(2, 1, 5)).astype(np.float32),
        "none": np.zeros((0, 3), np.int64),
    }
    DiskCache(tmp_path / "new" / "folder").put("k", kept)
    found = DiskCache(tmp_path / "new" / "folder").get("k")
    assert found is not None
    assert found.keys() == kept.keys()
    for name, array in kept.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)
    assert DiskCache(tmp_path).get("k") is None


def test_the_least_recently_used_go_first_and_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / "photo.npz").write_bytes(bytes(5000))
    cache = DiskCache(tmp_path, limit=5000)
    for age, key in ((40, "a"), (30, "b"), (20, "c")):
        cache.put(key, ONE)
        then = time.time() - age
        os.utime(tmp_path / f"{key}.cached.npz", (then, then))
    assert cache.get("a") is not None  # used now
    cache.put("d", ONE)
    assert [key for key in "abcd" if cache.get(key) is not None] == ["a", "c", "d"]
    assert cache.nbytes <= 5000
    assert (tmp_path / "photo.npz").exists()


def test_what_is_larger_than_the_limit_is_not_kept(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, limit=1300)
    cache.put("small", {"a": np.zeros(10)})
    cache.put("big", {"a": np.zeros(1000)})
    assert cache.get("small") is not None
    assert cache.get("big") is None
    DiskCache(tmp_path / "off", limit=0).put("k", ONE)
    assert not (tmp_path / "off").exists()


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign"])
def test_a_damaged_file_is_a_miss_and_is_written_anew(tmp_path: Path, damage: str) -> None:
    cache = DiskCache(tmp_path)
    cache.put("k", ONE)
    path = tmp_path / "k.cached.npz"
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(
        {
            "cut": whole[:middle],
            "flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
            "empty": b"",
            "foreign": b"nonsense",
        }[damage]
    )
    assert cache.get("k") is None
    cache.put("k", ONE)
    assert cache.get("k") is not None


def test_a_flipped_bit_in_any_place_is_harmless(tmp_path: Path) -> None:
    cache, kept = DiskCache(tmp_path), {"a": np.arange(20.0), "b": np.ones((3, 3), np.int64)}
    cache.put("k", kept)
    path = tmp_path / "k.cached.npz"
    whole = path.read_bytes()
    for place in range(len(whole)):
        for change in (0x01, 0x80, 0xFF):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ change]) + whole[place + 1 :])
            found = cache.get("k")
            assert found is None or found.keys() == kept.keys()
            assert found is None or all(np.array_equal(found[name], kept[name]) for name in kept)


def test_what_killed_processes_left_is_removed_but_not_what_is_being_written(tmp_path: Path) -> None:
    old, new = tmp_path / ".old.cached.npz", tmp_path / ".new.cached.npz"
    for path in (old, new):
        path.write_bytes(bytes(10))
    os.utime(old, (1, 1))
    DiskCache(tmp_path).put("k", ONE)
    assert not old.exists()
    assert new.exists()
    DiskCache(tmp_path, limit=1100).put("l", ONE)
    assert new.exists()


def test_of_a_killed_process_nothing_counts_for_ever_and_others_may_read_what_is_kept(tmp_path: Path) -> None:
    part = temporary_beside(tmp_path / "old.cached.npz")
    part.write_bytes(bytes(10))
    cache = DiskCache(tmp_path)
    assert cache.nbytes == 10
    (tmp_path / "like").touch()
    cache.put("k", ONE)
    assert part.exists(), "it may be being written"
    assert (tmp_path / "k.cached.npz").stat().st_mode == (tmp_path / "like").stat().st_mode
    os.utime(part, (1, 1))
    cache.put("l", ONE)
    assert not part.exists()


def test_several_processes_share_a_folder(tmp_path: Path) -> None:
    code = """if 1:
        import sys, numpy as np
        from pathlib import Path
        from napari_iseg.disk_cache import DiskCache
        cache = DiskCache(Path(sys.argv[1]), limit=10_000)
        for i in range(24):
            value = (7 * i + int(sys.argv[2])) % 12
            found = cache.get(str(value))
            assert found is None or (found["a"] == value).all()
            cache.put(str(value), {"a": np.full(1000, value, np.uint8)})
        assert "torch" not in sys.modules
    """
    command = [sys.executable, "-c", code, str(tmp_path)]
    running = [subprocess.Popen([*command, str(i)]) for i in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    cache = DiskCache(tmp_path, limit=10_000)
    assert 5000 < cache.nbytes <= 10_000
    assert not list(tmp_path.glob(".*"))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match=r"file.*choose another folder"):
        DiskCache(tmp_path / "file").put("k", ONE)
    with pytest.raises(ValueError, match="A key is"):
        DiskCache(tmp_path).put("../k", ONE)
