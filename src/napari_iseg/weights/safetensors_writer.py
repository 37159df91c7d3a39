"""Writes safetensors one tensor at a time.

The library's own writer wants all tensors in memory at once; the published ViT-H is 2.65 GB. The format is
a JSON table behind its length, then the data: https://huggingface.co/docs/safetensors.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_iseg.files import replacing

if TYPE_CHECKING:
    from torch import Tensor

# torch's name -> (safetensors' code, bytes per number)
CODES = {
    "float64": ("F64", 8),
    "float32": ("F32", 4),
    "float16": ("F16", 2),
    "bfloat16": ("BF16", 2),
    "int64": ("I64", 8),
    "int32": ("I32", 4),
    "int16": ("I16", 2),
    "int8": ("I8", 1),
    "uint8": ("U8", 1),
    "bool": ("BOOL", 1),
}


def what_it_is(backend: str, variant: str | Mapping[str, Any], names: str) -> dict[str, str]:
    """Metadata by which a file is recognised without its card; equal for an export and its import."""
    stated = variant if isinstance(variant, str) else dict(variant)
    return {"format": "pt", "backend": backend, "variant": json.dumps(stated), "names": names}


def write_safetensors(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    dtypes: Mapping[str, str],
    read: Callable[[str], Tensor],
    metadata: Mapping[str, str],
    *,
    half: bool = False,
) -> None:
    """Write the tensors ``read(key)`` of ``shapes`` to ``path``; it appears only when complete.

    Parameters
    ----------
    shapes, dtypes : key -> shape and torch's type name ("float32"), as ``read(key)`` gives them
    half : store floating tensors as float16

    Raises
    ------
    SaveError
        No space or no permission; nothing is left behind.
    """
    import torch

    types = {key: "float16" if half and "float" in dtypes[key] else dtypes[key] for key in shapes}
    table: dict[str, object] = {"__metadata__": dict(metadata)}
    place = 0
    for key in shapes:
        code, size = CODES[types[key]]
        end = place + math.prod(shapes[key]) * size
        table[key] = {"dtype": code, "shape": list(shapes[key]), "data_offsets": [place, end]}
        place = end
    header = json.dumps(table).encode("utf-8")
    header += b" " * (-len(header) % 8)  # the data start aligned
    with replacing(path) as stream:
        stream.write(struct.pack("<Q", len(header)) + header)
        for key in shapes:
            stream.write(
                read(key)
                .to(getattr(torch, types[key]))
                .contiguous()
                .reshape(-1)
                .view(torch.uint8)
                .numpy()
                .tobytes()
            )
