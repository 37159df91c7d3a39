"""What the methods are called and good at, for lists of models: known without importing torch."""

from __future__ import annotations

import ast
from importlib.abc import InspectLoader
from importlib.util import find_spec

from napari_iseg import backends


def title_of(backend: str) -> str:
    """The name of a method for people; of an unknown one its short name."""
    return _stated(backend, "title") or backend


def good_at(backend: str) -> str:
    """One line on what a method is good at; empty for an unknown one."""
    return _stated(backend, "good_at")


def _stated(backend: str, attribute: str) -> str:
    """The text that a method's class gives its attribute, read in its file: importing it would load torch."""
    if backend not in backends.BACKENDS:
        return ""
    module, _, name = backends.BACKENDS.home(backend).partition(":")
    spec = find_spec(module)
    loader = None if spec is None else spec.loader
    source = loader.get_source(module) if isinstance(loader, InspectLoader) else None
    for made in ast.parse(source or "").body:
        for line in made.body if isinstance(made, ast.ClassDef) and made.name == name else ():
            targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
            value = getattr(line, "value", None)
            named = any(isinstance(target, ast.Name) and target.id == attribute for target in targets)
            if named and isinstance(value, ast.Constant) and isinstance(value.value, str):
                return value.value
    return ""
