"""The demo as a program: the window opens, and this returns when it is closed."""

from __future__ import annotations

import napari

from napari_iseg.samples import sample
from napari_iseg.widgets.launch import open_demo


def run_demo(name: str, *, model: str | None = None, device: str | None = None) -> None:
    """Show a sample with one object clicked until the user closes napari; see ``open_demo`` for the rest."""
    open_demo(sample(name), model=model, device=device)
    napari.run()
