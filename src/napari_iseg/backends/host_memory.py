"""Memory of the CPU between one click and the next."""

from __future__ import annotations

import torch

_LARGEST = 31 * 1024 * 1024  # bytes; glibc's rule ends at 32 MB


def keep_freed_memory() -> None:
    """Have glibc keep up to 62 MB of what is freed, instead of giving it back to the system.

    A network's maps are a few MB each. With glibc's first settings every one of them is handed back when it
    is freed and comes anew, zeroed page by page, at the next click: a tenth to a fifth of the click's time.
    glibc raises both limits (from which size a block is the system's, and how much idle memory is kept) when
    a larger block is freed than ever before (`mallopt(3)`, M_MMAP_THRESHOLD), and so one is: never touched,
    it costs nothing. Limits that the user has set stay, and other C libraries are not affected.
    """
    torch.empty(_LARGEST, dtype=torch.uint8)
