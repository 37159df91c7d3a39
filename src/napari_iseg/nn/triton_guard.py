"""Keeps Triton out of a process that draws, where loading it can end the process.

torchvision imports ``torch._dynamo``, which imports Triton if it is installed. Triton brings an LLVM of its
own: loaded after Mesa's (software OpenGL, and Mesa's hardware drivers that use LLVM), the process dies of a
segmentation fault. The other order is harmless. PyTorch does without Triton; only ``torch.compile`` on a GPU
needs it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

_MAPS: Final = Path("/proc/self/maps")
_MESA: Final = ("libLLVM", "libgallium", "swrast_dri")
_NVIDIA: Final = ("libnvidia-glcore", "libnvidia-eglcore")


def keep_triton_out() -> bool:
    """Make ``import triton`` fail from now on, if this process draws with Mesa or may come to do so.

    To be called before torchvision, timm or segment-anything is imported on the way of a click. Where nothing
    draws (command line, training) and where NVIDIA's own driver draws nothing is changed.

    Returns
    -------
    bool
        Whether Triton cannot be loaded in this process any more.
    """
    if "triton" in sys.modules:
        return sys.modules["triton"] is None
    if not _may_crash(_mapped_files(_MAPS), draws="vispy" in sys.modules):
        return False
    # Python's own mark of a module that must not be imported: ImportError, which PyTorch catches. It stays:
    # a later import would crash as surely, and taking it back would race with imports in other threads.
    sys.modules["triton"] = None  # type: ignore[assignment]
    return True


def _may_crash(mapped: str, *, draws: bool) -> bool:
    """Whether Mesa is loaded (by the text of the memory map), or may come, as no other driver has yet."""
    if any(name in mapped for name in _MESA):
        return True
    return draws and bool(mapped) and not any(name in mapped for name in _NVIDIA)


def _mapped_files(maps: Path) -> str:
    """The process's memory map; empty on systems without one, none of which has Triton's official wheels."""
    try:
        return maps.read_text(errors="replace")
    except OSError:
        return ""
