"""Files of ``torch.save`` (zip or the older form), read without running anything that they contain."""

from __future__ import annotations

import math
import os
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from napari_iseg.errors import CheckpointError
from napari_iseg.weights.safe_pickle import Global, Rebuild, Stub, read_pickle

if TYPE_CHECKING:
    from torch import Tensor

MAX_PICKLE_BYTES = 64 * 2**20
MAX_RECORDS = 200_000
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_STORAGES = {
    "DoubleStorage": ("float64", 8),
    "FloatStorage": ("float32", 4),
    "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2),
    "LongStorage": ("int64", 8),
    "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2),
    "CharStorage": ("int8", 1),
    "ByteStorage": ("uint8", 1),
    "BoolStorage": ("bool", 1),
}


@dataclass(frozen=True, slots=True)
class StorageRef:
    """A block of numbers in the file: its key, type ("float32") and count."""

    key: str
    dtype: str
    itemsize: int
    count: int


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A tensor in the file, not read yet: a strided view of a storage, checked to lie inside it."""

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


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
        except (zipfile.BadZipFile, EOFError, NotImplementedError, struct.error) as error:
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
        tree = read_pickle(stream, _REBUILDERS, _persistent)
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
        raise CheckpointError(
            f"The checkpoint is damaged: its record {info.filename[:80]!r} has a wrong size."
        )
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
            raise CheckpointError(
                f"The checkpoint is damaged: block {storage.key[:40]!r} {held}, {wanted} are needed."
            )
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
            raise CheckpointError(f"The checkpoint is damaged: block {storage.key[:40]!r} is missing.")
        self._stream.seek(self._places[storage.key])
        return bytearray(self._stream.read(storage.count * storage.itemsize))


def _open_legacy(stream: IO[bytes], size: int) -> TorchFile:
    seen: dict[str, StorageRef] = {}

    def persistent(identity: Any) -> Any:
        if isinstance(identity, tuple) and len(identity) > 1 and identity[0] == "module":
            return identity[1]  # a class, with its source code behind it, which is left alone
        value = _persistent(identity)
        return seen.setdefault(value.key, value)

    if (
        read_pickle(stream, {}, persistent) != _LEGACY_MAGIC
        or read_pickle(stream, {}, persistent) != _LEGACY_PROTOCOL
    ):
        raise CheckpointError(
            "The file is a pickle but not one of torch.save; give the checkpoint as its authors publish it."
        )
    system = read_pickle(stream, {}, persistent)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise CheckpointError("The file was saved on a big-endian machine; save it again on a common one.")
    tree = read_pickle(stream, _REBUILDERS, persistent)
    keys = read_pickle(stream, {}, persistent)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise CheckpointError("The checkpoint is damaged: it does not list its blocks.")
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


def _persistent(identity: Any) -> StorageRef:
    """The storage that a persistent id of torch.save names: ("storage", type, key, device, count)."""
    if (
        isinstance(identity, tuple)
        and len(identity) >= 5
        and identity[0] == "storage"
        and not any(identity[5:])
    ):
        kind, key, count = identity[1], identity[2], identity[4]
        known = isinstance(kind, Global) and kind.module in ("torch", "torch.storage")
        if known and kind.name == "UntypedStorage" and isinstance(key, str) and _natural(count):
            return StorageRef(key, "uint8", 1, count)
        if known and kind.name in _STORAGES and isinstance(key, str) and _natural(count):
            return StorageRef(key, *_STORAGES[kind.name], count)
    raise CheckpointError(
        "The checkpoint refers to data in a form that is not known; save it as a plain state dict."
    )


def _natural(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**48


def _tensor(args: tuple[Any, ...]) -> TensorRef:
    """Arguments (storage, offset, shape, stride, ...) as a checked view."""
    if len(args) < 4:
        raise CheckpointError("The checkpoint is damaged: a tensor lacks its shape.")
    storage, offset, shape, stride = args[:4]
    numbers = isinstance(shape, tuple) and isinstance(stride, tuple) and len(shape) == len(stride) <= 16
    if not (isinstance(storage, StorageRef) and numbers and all(map(_natural, (offset, *shape, *stride)))):
        raise CheckpointError("The checkpoint is damaged: a tensor has no valid shape, stride or offset.")
    count = math.prod(shape)
    last = offset + sum((side - 1) * step for side, step in zip(shape, stride, strict=True)) if count else 0
    if count and (last >= storage.count or count > storage.count):
        raise CheckpointError("The checkpoint is damaged: a tensor reaches beyond its data.")
    return TensorRef(storage, offset, shape, stride)


def _typed_tensor(args: tuple[Any, ...]) -> TensorRef:
    """torch's third form, (storage of bytes, offset, shape, stride, grad, hooks, dtype)."""
    names = dict(_STORAGES.values())
    dtype = args[6] if len(args) > 6 else None
    if not (isinstance(dtype, Global) and dtype.name in names and isinstance(args[0], StorageRef)):
        raise CheckpointError("The checkpoint holds a tensor of a type that is not used for weights.")
    size = names[dtype.name]
    return _tensor(
        (StorageRef(args[0].key, dtype.name, size, args[0].count * args[0].itemsize // size), *args[1:])
    )


def _first(args: tuple[Any, ...]) -> Any:
    return args[0] if args else Stub("an empty parameter")


_REBUILDERS: dict[str, Rebuild] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch.Size": _first,
}
