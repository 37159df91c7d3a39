"""Loading large libraries in a worker without holding the window."""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def no_collection() -> Iterator[None]:
    """Let no search for garbage start meanwhile, in any thread, nor afterwards because of what was loaded.

    The hundred thousands of objects that a large library makes have Python search all objects there are,
    several times, which stops every thread for a quarter of a second. They are no garbage. Freezing and
    unfreezing puts what is new among the old objects without a search; nothing stays frozen, so all of it can
    be collected later. Where two threads are in here the first to leave ends it, and where somebody else has
    frozen objects they stay so; either costs smoothness only.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():
            gc.freeze()
            gc.unfreeze()
        if collecting:
            gc.enable()


@contextmanager
def torch_at_hand() -> Iterator[None]:
    """Like `no_collection`, with torch's libraries mapped already; for what imports it."""
    map_torch()
    with no_collection():
        yield


def map_torch() -> None:
    """Let the system's loader map torch's libraries without holding Python's lock.

    ``import torch`` keeps the lock for a quarter of a second while its largest library is mapped and
    initialised, which would freeze the window although it happens in the worker. A foreign call releases the
    lock; the import that follows finds the library in place. Where that cannot be done
    nothing is lost but smoothness.
    """
    if "torch" in sys.modules or sys.platform == "win32":  # torch itself uses a foreign call on Windows
        return
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return
    suffix = "dylib" if sys.platform == "darwin" else "so"
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.restype, dlopen.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
    for library in ("libtorch_global_deps", "libtorch"):
        path = Path(found.origin).parent / "lib" / f"{library}.{suffix}"
        if path.exists():
            dlopen(os.fsencode(path), os.RTLD_NOW | os.RTLD_GLOBAL)
