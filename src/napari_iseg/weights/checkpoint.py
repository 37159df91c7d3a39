"""One view of any weights file: names, shapes, what it says about itself, and tensors read one by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_iseg.errors import CheckpointError
from napari_iseg.weights.safe_pickle import Stub
from napari_iseg.weights.safetensors_writer import CODES
from napari_iseg.weights.tensor_refs import TensorRef
from napari_iseg.weights.torch_file import TorchFile, open_torch_file

if TYPE_CHECKING:
    from torch import Tensor

_INNER_NAMES = ("state_dict", "model")
_MAX_HINT_DEPTH = 6
_MAX_HINTS = 2000


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An opened weights file.

    ``shapes``: key -> shape, a "module." prefix already taken off. ``dtypes``: key -> "float32", ...
    ``hints``: what the file states about its sizes (``{"num_heads": 12, ...}``), from its configuration.
    ``metadata``: text entries of a safetensors header.
    """

    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]
    read: Callable[[str], Tensor]
    hints: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)

    def state(self) -> dict[str, Tensor]:
        """All tensors, in memory."""
        return {key: self.read(key) for key in self.shapes}


@contextmanager
def open_checkpoint(path: Path) -> Iterator[Checkpoint]:
    """Open a .safetensors, .pth or .pt file (the content decides, not the name), for a ``with`` block.

    Raises
    ------
    CheckpointError
        The file is missing, unreadable, damaged, or holds no state dict.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(9)
    except OSError as error:
        raise CheckpointError(
            f"The weights file {path} cannot be read ({error.strerror or error}); check the path."
        ) from None
    if not start:
        raise CheckpointError(f"The weights file {path.name} is empty; download or copy it again.")
    if len(start) == 9 and start[8:] == b"{":
        file: Any = _open_safetensors(path)
        with file:
            yield _from_safetensors(file, path.name)
        return
    with open_torch_file(path) as file:
        yield _from_torch(file, path.name)


def _open_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(str(path), framework="pt")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path.name} is damaged or cut off ({error}); download it again.") from None


def _from_safetensors(file: Any, name: str) -> Checkpoint:
    views = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
    shapes = {key: tuple(view.get_shape()) for key, view in views.items()}
    dtypes = {key: _dtype(view.get_dtype(), name) for key, view in views.items()}
    return Checkpoint(shapes, dtypes, file.get_tensor, metadata=dict(file.metadata() or {}))


def _dtype(code: str, name: str) -> str:
    for dtype, (known, _) in CODES.items():
        if known == code:
            return dtype
    raise CheckpointError(f"{name} holds numbers of type {code}, which is not used for weights.")


def _from_torch(file: TorchFile, name: str) -> Checkpoint:
    tensors = _find_state(file.tree)
    if not tensors:
        raise CheckpointError(
            f"{name} holds no state dict: no named tensors, neither directly nor under 'state_dict' or "
            "'model'; save those alone, as torch.save(net.state_dict(), FILE)."
        )
    return Checkpoint(
        {key: ref.shape for key, ref in tensors.items()},
        {key: ref.storage.dtype for key, ref in tensors.items()},
        lambda key: file.read(tensors[key]),
        hints=_hints(file.tree),
    )


def _find_state(tree: Any) -> dict[str, TensorRef]:
    places = [_items(tree)]
    places = [_items(places[0].get(name)) for name in _INNER_NAMES] + places
    for place in places:
        found = {str(key): value for key, value in place.items() if isinstance(value, TensorRef)}
        if found:
            prefixed = all(key.startswith("module.") for key in found)
            return {key.removeprefix("module."): ref for key, ref in found.items()} if prefixed else found
    return {}


def _items(value: Any) -> Mapping[Any, Any]:
    """A dictionary's entries, also of a foreign dictionary class."""
    if isinstance(value, Stub):
        return value.items
    return value if isinstance(value, dict) else {}


def _hints(tree: Any) -> dict[str, Any]:
    """Plain values of a pickled configuration, flattened, without its {type, value, specified} wrappers."""
    found: dict[str, Any] = {}
    _collect(_items(tree).get("config"), found, 0)
    return found


def _collect(value: Any, found: dict[str, Any], depth: int) -> None:
    if depth > _MAX_HINT_DEPTH:
        return
    for key, entry in _items(value).items():
        if len(found) >= _MAX_HINTS:
            return
        inner = _items(entry)
        if "value" in inner and "specified" in inner:
            entry = inner["value"]
        if _is_plain(entry):
            found.setdefault(str(key), list(entry) if isinstance(entry, tuple) else entry)
        else:
            _collect(entry, found, depth + 1)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return len(value) <= 64 and all(isinstance(part, int | float | str | bool) for part in value)
    return isinstance(value, int | str | bool) or (isinstance(value, float) and math.isfinite(value))
