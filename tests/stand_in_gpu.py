"""A stand-in for a GPU: tensors that say they are on cuda:0, refuse company from the CPU, and compute there.

What it finds is a tensor left on the wrong device; numbers are the CPU's. Number formats are tried with
autocast on a CPU (`test_half_precision.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

GPU = torch.device("cuda:0")
# What works on tensors wherever they lie, or on the tensor itself instead of its numbers.
_ANYWHERE = ("__get__", "__set__", "backward", "requires_grad_", "detach", "copy_", "size", "stride", "dim")
_ANYWHERE += ("is_contiguous", "numel", "data_ptr", "__repr__", "pin_memory", "is_floating_point")


class OnGpu(torch.Tensor):
    """A tensor on the stand-in."""

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        with torch._C.DisableTorchFunction():
            return _called(func, args, kwargs or {})


class _Mode(TorchFunctionMode):
    """Makes what is asked for on "cuda" `OnGpu`."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        with torch._C.DisableTorchFunction():
            return _called(func, args, kwargs or {})


@contextmanager
def stand_in_gpu(announced: bool = True) -> Iterator[None]:
    """Have a GPU that is none; not ``announced``, libraries that look for GPUs do not find it."""
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with pytest.MonkeyPatch.context() as patch, _Mode():
            if announced:
                patch.setattr(torch.cuda, "is_available", lambda: True)
                patch.setattr(torch.cuda, "device_count", lambda: 1)
                patch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)  # would need a driver
            yield
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)


def _called(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name = getattr(func, "__name__", "")
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    here = any(isinstance(x, OnGpu) for x in tensors)
    if name == "_has_compatible_shallow_copy_type":  # modules get new parameters, of our class
        return False
    if func == torch.Tensor.device.__get__:  # type: ignore[attr-defined]
        return GPU if here else func(*args)
    if here and name in ("numpy", "__array__"):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")
    if name in ("to", "cpu"):
        return _moved(name, args, kwargs)
    if kwargs.get("device") is not None:
        here, kwargs = torch.device(kwargs["device"]).type == "cuda", {**kwargs, "device": "cpu"}
    elif here and name not in _ANYWHERE:
        _check(name, args, tensors)
    out = func(*args, **kwargs)
    changed = any(out is x for x in tensors)  # in place
    return tree_map(_on_gpu, out) if here and not changed else out


def _moved(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """``x.to(...)`` with a device, a type, or a tensor like which it shall be; ``x.cpu()``."""
    given = [*args[1:], kwargs.get("device"), *(["cpu"] if name == "cpu" else [])]
    here = isinstance(args[0], OnGpu)
    for one in given:
        if isinstance(one, torch.Tensor):
            here = isinstance(one, OnGpu)
        elif isinstance(one, str | torch.device):
            here = torch.device(one).type == "cuda"
    rest = ["cpu" if isinstance(one, str | torch.device) else one for one in args[1:]]
    named = {key: "cpu" if key == "device" and value is not None else value for key, value in kwargs.items()}
    out = getattr(args[0].as_subclass(torch.Tensor), name)(*rest, **named)
    return _on_gpu(out) if here else out  # type: ignore[no-any-return]


def _on_gpu(x: Any) -> Any:
    return x.as_subclass(OnGpu) if isinstance(x, torch.Tensor) and not isinstance(x, OnGpu) else x


def _check(name: str, args: tuple[Any, ...], tensors: list[torch.Tensor]) -> None:
    """RuntimeError where tensors of both devices meet, but for numbers and for indices of `OnGpu` tensors."""
    strangers = [x for x in tensors if not isinstance(x, OnGpu) and x.dim()]
    if name in ("__getitem__", "__setitem__") and isinstance(args[0], OnGpu):
        strangers = [x for x in strangers if name == "__setitem__" and x is args[-1]]
    if strangers:
        shapes = ", ".join(str(tuple(x.shape)) for x in strangers)
        raise RuntimeError(f"{name}: expected all tensors on cuda:0, but found on the cpu: {shapes}.")
