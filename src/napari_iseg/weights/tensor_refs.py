"""What a pickle of torch.save says of its tensors, checked, without reading their numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from napari_iseg.errors import CheckpointError
from napari_iseg.weights.damage import damaged
from napari_iseg.weights.safe_pickle import Global, Rebuild, Stub

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


def storage_of(identity: Any) -> StorageRef:
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
        raise damaged("a tensor lacks its shape")
    storage, offset, shape, stride = args[:4]
    numbers = isinstance(shape, tuple) and isinstance(stride, tuple) and len(shape) == len(stride) <= 16
    if not (isinstance(storage, StorageRef) and numbers and all(map(_natural, (offset, *shape, *stride)))):
        raise damaged("a tensor has no valid shape, stride or offset")
    count = math.prod(shape)
    last = offset + sum((side - 1) * step for side, step in zip(shape, stride, strict=True)) if count else 0
    if count and (last >= storage.count or count > storage.count):
        raise damaged("a tensor reaches beyond its data")
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


REBUILDERS: dict[str, Rebuild] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch.Size": _first,
}
