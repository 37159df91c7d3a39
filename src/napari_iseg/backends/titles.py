"""What the methods are called and good at, for lists of models: known without importing torch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# The same words as the backends' own ``title`` and ``good_at``; a test compares them.
TITLES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "cfr-icl": ("CFR-ICL", "objects of any kind from clicks; refines its own mask"),
        "mst": ("MST", "objects of very different sizes in one image"),
        "adaptiveclick": (
            "AdaptiveClick",
            "objects whose clicks could mean several things; photographs and medical images",
        ),
        "sam": ("Segment Anything", "a box or a few clicks; every click after the first is answered at once"),
        "ifsenet": ("IFSENet", "a few clicked slices or tiles become all"),
    }
)


def title_of(backend: str) -> str:
    """The name of a method for people; of an unknown one its short name."""
    return TITLES[backend][0] if backend in TITLES else backend


def good_at(backend: str) -> str:
    """One line on what a method is good at; empty for an unknown one."""
    return TITLES[backend][1] if backend in TITLES else ""
