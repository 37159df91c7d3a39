"""What a checkpoint's configuration states about its network, as plain values; nothing of the file runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from napari_iseg.weights.safe_pickle import Stub

_MAX_DEPTH = 6
_MAX_ENTRIES = 5000  # looked at; published configurations have a few hundred
_MAX_LENGTH = 64  # of a list
_MAX_NUMBER = 2**63 - 1  # the longest are too long to print
_OTHER_NAMES = {"NUM_HEADS": "num_heads", "crop_size": "img_size"}  # AdaptiveClick's, and ours
_SCALARS = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")  # before numpy 2, and since
_NUMBER = re.compile("[iu][1248]|f[248]")


def hints_of(tree: Any) -> dict[str, Any]:
    """Plain values of a pickled configuration, flattened, without its {type, value, specified} wrappers.

    Whole numbers are ints, however they were stated; ``num_heads`` is one where all of a list are alike.
    """
    found: dict[str, Any] = {}
    for key, entry in islice(_entries(items_of(tree).get("config"), set(), 0), _MAX_ENTRIES):
        plain = _plain(entry)
        if plain is not None:
            found.setdefault(key, plain)
    for theirs, ours in _OTHER_NAMES.items():
        if theirs in found:
            found.setdefault(ours, found[theirs])
    heads = found.get("num_heads")
    if isinstance(heads, list) and heads and heads.count(heads[0]) == len(heads):
        found["num_heads"] = heads[0]
    return found


def items_of(value: Any) -> Mapping[Any, Any]:
    """A dictionary's entries, also of a foreign dictionary class."""
    if isinstance(value, Stub):
        return value.items
    return value if isinstance(value, dict) else {}


def _entries(value: Any, seen: set[int], depth: int) -> Iterator[tuple[str, Any]]:
    """Every name with what it stands for, of each dictionary once, however often the file refers to it.

    ``seen``: the ids of those
    """
    if depth > _MAX_DEPTH or id(value) in seen:
        return
    seen.add(id(value))
    for key, entry in items_of(value).items():
        if not isinstance(key, str):
            continue
        inner = items_of(entry)
        if "value" in inner and "specified" in inner:
            entry = inner["value"]
        yield key, entry
        yield from _entries(entry, seen, depth + 1)


def _plain(value: Any) -> Any:
    """A number or text, or a list of them; None for anything else."""
    if not isinstance(value, list | tuple):
        return _number_or_text(value)
    entries = [_number_or_text(entry) for entry in value[:_MAX_LENGTH]]
    return None if None in entries or len(value) > _MAX_LENGTH else entries


def _number_or_text(value: Any) -> int | float | str | None:
    """None for a truth value too: it is no size, though Python counts it among the whole numbers."""
    if isinstance(value, Stub):
        value = _numpy_number(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or (isinstance(value, int | float) and not abs(value) <= _MAX_NUMBER):
        return None  # so NaN, which compares with nothing
    return value if isinstance(value, int | float | str) else None


def _numpy_number(stub: Stub) -> int | float | None:
    """A number of numpy's, which is pickled as its type and bytes; None for anything else."""
    if stub.origin not in _SCALARS or len(stub.args) != 2 or not isinstance(stub.args[0], Stub):
        return None
    kind, content = stub.args
    if isinstance(content, Stub) and content.origin == "_codecs.encode" and content.args:  # in old pickles
        text = content.args[0]
        content = text.encode("latin1", "ignore") if isinstance(text, str) else None
    code = kind.args[0] if kind.args else None
    order = kind.state[1] if isinstance(kind.state, tuple) and len(kind.state) > 1 else "="
    if not isinstance(code, str) or not _NUMBER.fullmatch(code) or order not in ("<", ">", "=", "|"):
        return None
    dtype: np.dtype[Any] = np.dtype(order + code)
    if not isinstance(content, bytes) or len(content) != dtype.itemsize:
        return None
    number: int | float = np.frombuffer(content, dtype)[0].item()
    return number
