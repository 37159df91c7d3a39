"""The journal: an append-only file of JSON lines that is on disk before anything else happens."""

from __future__ import annotations

import errno
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import Timeout

from napari_iseg.errors import InputError, SaveError
from napari_iseg.locks import acquired

_PATIENCE = 10.0  # seconds; another process holds the lock for milliseconds


@dataclass(frozen=True, slots=True)
class Record:
    """One line: its number (from 1, without gaps) and what it says."""

    seq: int
    body: dict[str, Any]


class Journal:
    """Appends records to a file, each flushed and synced to the disk before ``append`` returns.

    A line is ``{"seq": n, "crc": "...", "body": {...}}``; the checksum covers number and body. A last line
    without its newline or with a wrong checksum is what a crash leaves behind: it is dropped and ``note``
    says so. Damage before the last line is refused, since every record builds on the ones before it.

    Parameters
    ----------
    path : Path
        Created when missing (its folder must exist); otherwise read and continued.
    shared : bool
        Whether other processes may open it too: a lock beside it then lets one read or write at a time.

    Raises
    ------
    InputError
        When the file is damaged before its last line.
    SaveError
        When the file cannot be opened or written.
    """

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        self.path = path
        self._shared = shared
        with self._alone():
            self._open()

    def _open(self) -> None:
        path = self.path
        try:
            content = path.read_bytes() if path.exists() else b""
            self.records, good = parse(content, path)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
            os.ftruncate(self._file, good)
            os.lseek(self._file, good, os.SEEK_SET)
            os.fsync(self._file)
            _sync_folder(path.parent)
        except OSError as error:
            raise _unwritable(path, error) from error
        self.note = ""
        if good < len(content):
            self.note = (
                f"The last line of {path.name} was incomplete (a crash while writing it) and was dropped."
            )
        self._size = good
        self._last = self.records[-1].seq if self.records else 0

    @property
    def last(self) -> int:
        """The number of the last record; 0 when there is none."""
        return self._last

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._file < 0

    @property
    def missing(self) -> bool:
        """Whether the file was moved or removed since it was opened."""
        return not self.closed and not self.path.exists()

    @property
    def outdated(self) -> bool:
        """Whether another program has written to the file, replaced it or removed it since it was opened."""
        if self.closed:
            return False
        ours = os.fstat(self._file)
        try:
            return ours.st_size != self._size or not os.path.samestat(ours, self.path.stat())
        except OSError:
            return True

    def check(self) -> None:
        """Raise SaveError when no record can be appended: closed, or changed by another program."""
        if self.closed:
            raise SaveError(f"{self.path} is closed; open the session again to go on.")
        if self.missing:
            raise SaveError(
                f"{self.path} was moved or removed by another program; put it back to go on, or begin a new "
                "session."
            )
        if self.outdated:
            raise SaveError(
                f"{self.path} was changed by another program; close it there and open the session again."
            )

    def append(self, body: Mapping[str, Any]) -> int:
        """Write one record and sync it; returns its number.

        Raises
        ------
        SaveError
            When the disk is full, or another program has written to the file, replaced or removed it; the
            file is then as it was before. Or after ``close``.
        """
        self.check()  # first of all: the lock would make a folder that is gone anew
        with self._alone():
            self.check()
            return self._append(body)

    def _append(self, body: Mapping[str, Any]) -> int:
        seq = self._last + 1
        line = encode(seq, body)
        try:
            _write_all(self._file, line)
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._size)
            os.lseek(self._file, self._size, os.SEEK_SET)
            raise SaveError(
                f"The journal {self.path} could not be written ({error.strerror or error}); free some space "
                "and repeat the last action, which was not done."
            ) from error
        self._size += len(line)
        self._last = seq
        return seq

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _alone(self) -> AbstractContextManager[None]:
        return _one_process(self.path) if self._shared else nullcontext()


def encode(seq: int, body: Mapping[str, Any]) -> bytes:
    """The line of a record."""
    text = json.dumps(body, separators=(",", ":"), allow_nan=False)
    crc = zlib.crc32(f"{seq}:{text}".encode())
    return f'{{"seq":{seq},"crc":"{crc:08x}","body":{text}}}\n'.encode()


def parse(content: bytes, path: Path) -> tuple[list[Record], int]:
    """Records of a journal's bytes, and how many bytes of it are whole records."""
    records: list[Record] = []
    good = 0
    while good < len(content):
        end = content.find(b"\n", good) + 1
        record = _decode(content[good:end], len(records) + 1) if end else None
        if record is None:
            if not end or end == len(content):
                break
            raise InputError(
                f"{path} is damaged at line {len(records) + 1}; keep a copy of it and delete the lines from "
                "there on to open what precedes them."
            )
        records.append(record)
        good = end
    return records, good


def _decode(line: bytes, expected: int) -> Record | None:
    """The record of a line, or None when it is not whole or not the expected one."""
    try:
        fields = json.loads(line)
        record = Record(fields["seq"], fields["body"])
    except (ValueError, KeyError, TypeError):
        return None
    return record if record.seq == expected and encode(record.seq, record.body) == line else None


@contextmanager
def _one_process(path: Path) -> Iterator[None]:
    """Keep other processes away from a file meanwhile; a file system without locks lets them in."""
    try:
        lock = acquired(path.with_name(f".{path.name}.lock"), _PATIENCE)
    except Timeout:
        raise SaveError(f"{path} is in use by another program; close it there and try again.") from None
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def _unwritable(path: Path, error: OSError) -> SaveError:
    words = f"The journal {path} cannot be written: {error.strerror or error}"
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        words += (
            f"; allow writing in {path.parent}, or copy that folder to where you may write and open the copy"
        )
    return SaveError(f"{words}.")


def _sync_folder(path: Path) -> None:
    """Make sure that a new file's name survives a power cut (Windows cannot open folders, and needs not)."""
    if os.name == "posix":
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _write_all(file: int, data: bytes) -> None:
    """Write every byte: a full disk may take a part of a line without an error."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
