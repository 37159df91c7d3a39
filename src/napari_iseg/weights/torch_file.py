"""Files of ``torch.save`` (zip or the older form), read without running anything that they contain."""

from __future__ import annotations

import math
import os
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from napari_iseg.errors import CheckpointError, IsegError
from napari_iseg.weights.damage import damaged
from napari_iseg.weights.safe_pickle import read_pickle
from napari_iseg.weights.tensor_refs import REBUILDERS, StorageRef, TensorRef, storage_of

if TYPE_CHECKING:
    from torch import Tensor

MAX_PICKLE_BYTES = 64 * 2**20
MAX_RECORDS = 200_000
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001


class _Blocks(Protocol):
    def read(self, storage: StorageRef) -> bytearray: ...


class TorchFile:
    """An opened file: ``tree`` is what was saved, `TensorRef` for tensors and `Stub` for foreign objects."""

    def __init__(self, tree: Any, blocks: _Blocks, file_size: int) -> None:
        self.tree = tree
        self._blocks = blocks
        self._budget = (
            4 * file_size + 2**20
        )  # bytes that may still be made of this file: shared tensors are repeated
        self._last: tuple[StorageRef, bytearray] | None = None

    def read(self, ref: TensorRef) -> Tensor:
        """The tensor, contiguous, in the type in which it was saved.

        Raises
        ------
        CheckpointError
            Its block is missing, cut off or of another length than stated.
        """
        import torch

        storage, count = ref.storage, math.prod(ref.shape)
        self._spend(count * storage.itemsize)
        if count == 0:
            return torch.empty(ref.shape, dtype=getattr(torch, storage.dtype))
        if self._last is None or self._last[0] != storage:
            self._spend(storage.count * storage.itemsize)
            self._last = (storage, self._blocks.read(storage))
        flat = torch.frombuffer(self._last[1], dtype=getattr(torch, storage.dtype), count=storage.count)
        return flat.as_strided(ref.shape, ref.stride, ref.offset).clone(memory_format=torch.contiguous_format)

    def _spend(self, count: int) -> None:
        self._budget -= count
        if self._budget < 0:
            raise CheckpointError(
                "The file is not a usable checkpoint: its tensors repeat the same data many times over."
            )


@contextmanager
def open_torch_file(path: Path) -> Iterator[TorchFile]:
    """Open a ``torch.save`` file of either form; tensors can be read inside the ``with`` block.

    Raises
    ------
    CheckpointError
        Not such a file, or damaged, with what is wrong in one sentence.
    """
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        start = stream.read(4)
        stream.seek(0)
        try:
            if start.startswith(b"PK"):
                with zipfile.ZipFile(stream) as archive:
                    yield _open_zip(archive, size)
            elif start.startswith(b"\x80"):
                yield _open_legacy(stream, size)
            else:
                raise CheckpointError(
                    f"{path.name} is neither a torch.save nor a safetensors file; "
                    "give the checkpoint as its authors publish it."
                )
        except IsegError:
            raise
        except (
            zipfile.BadZipFile,
            EOFError,
            OSError,
            NotImplementedError,
            UnicodeError,
            struct.error,
        ) as error:
            raise CheckpointError(
                f"{path.name} is damaged or cut off ({error}); download it again."
            ) from None


def _open_zip(archive: zipfile.ZipFile, size: int) -> TorchFile:
    records = {info.filename: info for info in archive.infolist()[:MAX_RECORDS]}
    pickles = [name for name in records if name.count("/") <= 1 and name.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        raise CheckpointError(
            "The zip file is not a checkpoint: it holds no data.pkl as torch.save writes it."
        )
    root = pickles[0].removesuffix("data.pkl")
    blocks = _ZipBlocks(archive, records, root)
    if f"{root}byteorder" in records and blocks.bytes_of(f"{root}byteorder", 16).strip() != b"little":
        raise CheckpointError("The file was saved on a big-endian machine; save it again on a common one.")
    with _record(archive, records[pickles[0]], MAX_PICKLE_BYTES) as stream:
        tree = read_pickle(stream, REBUILDERS, storage_of)
        stream.read()  # to the end of the record: its checksum is compared there
    return TorchFile(tree, blocks, size)


@contextmanager
def _record(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int) -> Iterator[IO[bytes]]:
    """A record as a stream; packed ones are refused, since torch.save never packs: no zip bombs."""
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise CheckpointError(
            "The zip file is not a checkpoint: its records are packed or encrypted, a checkpoint's never are."
        )
    if info.file_size > limit or info.file_size != info.compress_size:
        raise damaged(f"its record {info.filename[:80]!r} has a wrong size")
    with archive.open(info) as stream:
        yield stream


class _ZipBlocks:
    """Storages of the zip form: one record each."""

    def __init__(self, archive: zipfile.ZipFile, records: dict[str, zipfile.ZipInfo], root: str) -> None:
        self._archive, self._records, self._root = archive, records, root

    def bytes_of(self, name: str, limit: int) -> bytes:
        with _record(self._archive, self._records[name], limit) as stream:
            return stream.read()

    def read(self, storage: StorageRef) -> bytearray:
        info = self._records.get(f"{self._root}data/{storage.key}")
        wanted = storage.count * storage.itemsize
        if info is None or info.file_size != wanted:
            held = "is missing" if info is None else f"holds {info.file_size} bytes"
            raise damaged(f"block {storage.key[:40]!r} {held}, {wanted} are needed")
        block = bytearray(wanted)
        with _record(self._archive, info, wanted) as stream:
            view, filled = memoryview(block), 0
            while filled < wanted:
                part = stream.read(min(2**24, wanted - filled))
                if not part:
                    raise CheckpointError(
                        f"The checkpoint is cut off inside block {storage.key[:40]!r}; download it again."
                    )
                view[filled : filled + len(part)] = part
                filled += len(part)
            stream.read(1)  # the end of the record: the checksum is compared here
        return block


class _LegacyBlocks:
    """Storages of the older form: behind the pickles, each with its count in front."""

    def __init__(self, stream: IO[bytes], places: dict[str, int]) -> None:
        self._stream, self._places = stream, places

    def read(self, storage: StorageRef) -> bytearray:
        if storage.key not in self._places:
            raise damaged(f"block {storage.key[:40]!r} is missing")
        self._stream.seek(self._places[storage.key])
        return bytearray(self._stream.read(storage.count * storage.itemsize))


class _Head:
    """A stream that never makes room for more than a pickle may hold, whatever length the pickle claims."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.tell = stream.tell

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(MAX_PICKLE_BYTES if size < 0 else min(size, MAX_PICKLE_BYTES))

    def readline(self) -> bytes:
        return self._stream.readline(MAX_PICKLE_BYTES)


def _open_legacy(stream: IO[bytes], size: int) -> TorchFile:
    seen: dict[str, StorageRef] = {}

    def persistent(identity: Any) -> Any:
        if isinstance(identity, tuple) and len(identity) > 1 and identity[0] == "module":
            return identity[1]  # a class, with its source code behind it, which is left alone
        value = storage_of(identity)
        return seen.setdefault(value.key, value)

    head = _Head(stream)
    if (
        read_pickle(head, {}, persistent) != _LEGACY_MAGIC
        or read_pickle(head, {}, persistent) != _LEGACY_PROTOCOL
    ):
        raise CheckpointError(
            "The file is a pickle but not one of torch.save; give the checkpoint as its authors publish it."
        )
    system = read_pickle(head, {}, persistent)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise CheckpointError("The file was saved on a big-endian machine; save it again on a common one.")
    tree = read_pickle(head, REBUILDERS, persistent)
    keys = read_pickle(head, {}, persistent)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise damaged("it does not list its blocks")
    places = {}
    for key in keys:
        (count,) = struct.unpack("<q", stream.read(8))
        if key not in seen or count != seen[key].count or stream.tell() + count * seen[key].itemsize > size:
            raise CheckpointError(
                f"The checkpoint is damaged or cut off at block {key[:40]!r}; download it again."
            )
        places[key] = stream.tell()
        stream.seek(count * seen[key].itemsize, os.SEEK_CUR)
    return TorchFile(tree, _LegacyBlocks(stream, places), size)
