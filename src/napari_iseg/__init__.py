"""Interactive segmentation for science: click an object, get its mask.

The names below are loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_iseg.evaluation.protocol import evaluate
    from napari_iseg.fewshot.areas import Areas
    from napari_iseg.fewshot.facade import FewShot
    from napari_iseg.fewshot.propagate import propagate
    from napari_iseg.images import PlaneSource
    from napari_iseg.interactive.session import Session
    from napari_iseg.labels.store import LabelStore
    from napari_iseg.prompts import Box, Click
    from napari_iseg.weights.store import list_models, load_model

__version__ = "0.1.0"
__all__ = [
    "Areas",
    "Box",
    "Click",
    "FewShot",
    "LabelStore",
    "PlaneSource",
    "Session",
    "evaluate",
    "list_models",
    "load_model",
    "propagate",
]

_HOMES = {
    "Areas": "fewshot.areas",
    "Box": "prompts",
    "Click": "prompts",
    "FewShot": "fewshot.facade",
    "LabelStore": "labels.store",
    "PlaneSource": "images",
    "Session": "interactive.session",
    "evaluate": "evaluation.protocol",
    "list_models": "weights.store",
    "load_model": "weights.store",
    "propagate": "fewshot.propagate",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
