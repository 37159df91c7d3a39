"""One view of any weights file: names, shapes, what it says about itself, and tensors read one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_iseg.errors import CheckpointError
from napari_iseg.weights.hints import hints_of, items_of
from napari_iseg.weights.safetensors_writer import CODES
from napari_iseg.weights.tensor_refs import TensorRef
from napari_iseg.weights.torch_file import TorchFile, open_torch_file

if TYPE_CHECKING:
    from torch import Tensor

_INNER_NAMES = ("state_dict", "model", "model_state_dict", "ema")
_WRAPPERS = ("module.", "_orig_mod.")  # of networks trained in parallel, and of compiled ones
_MAX_WRAPS = 4


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An opened weights file.

    ``shapes``: key -> shape; a "module." or "_orig_mod." before every key is already taken off. ``dtypes``:
    key -> "float32", ...
    ``hints``: what the file states about its sizes (``{"num_heads": 12, ...}``), from its configuration;
    under one name whatever the method.
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

    @property
    def shared(self) -> str:
        """What comes before the first dot of every key, with the dot; empty where that differs."""
        first, dot, _ = next(iter(self.shapes), "").partition(".")
        prefix = first + dot
        return prefix if dot and all(key.startswith(prefix) for key in self.shapes) else ""

    def without(self, prefix: str) -> Checkpoint:
        """The file as if its keys, which all start with ``prefix``, had none."""
        return replace(
            self,
            shapes={key.removeprefix(prefix): shape for key, shape in self.shapes.items()},
            dtypes={key.removeprefix(prefix): dtype for key, dtype in self.dtypes.items()},
            read=lambda key: self.read(prefix + key),
        )


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
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"The weights file {path} cannot be read ({reason}); check the path.") from None
    if not start:
        raise CheckpointError(f"The weights file {path.name} is empty; download or copy it again.")
    if len(start) == 9 and start[8:] == b"{":
        file: Any = _open_safetensors(path)
        with file:
            yield _bare(_from_safetensors(file, path.name))
        return
    with open_torch_file(path) as file:
        yield _bare(_from_torch(file, path.name))


def _bare(file: Checkpoint) -> Checkpoint:
    for _ in range(_MAX_WRAPS):
        if file.shared not in _WRAPPERS:
            break
        file = file.without(file.shared)
    return file


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
            f"{name} holds no state dict: no named tensors, neither directly nor under one "
            f"of {', '.join(map(repr, _INNER_NAMES))}; save those alone, as "
            "torch.save(net.state_dict(), FILE)."
        )
    return Checkpoint(
        {key: ref.shape for key, ref in tensors.items()},
        {key: ref.storage.dtype for key, ref in tensors.items()},
        lambda key: file.read(tensors[key]),
        hints=hints_of(file.tree),
    )


def _find_state(tree: Any) -> dict[str, TensorRef]:
    top = items_of(tree)
    inner = [items_of(top.get(name)) for name in _INNER_NAMES]
    innermost = [items_of(place.get("state_dict")) for place in inner]
    for place in (*inner, *innermost, top):
        found = {
            key: value
            for key, value in place.items()
            if isinstance(key, str) and isinstance(value, TensorRef)
        }
        if found:
            return found
    return {}
