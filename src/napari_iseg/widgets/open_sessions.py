"""Who works in a session's folder, and on which image: two docks in one would refuse each other's records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from napari_iseg.widgets.editor import Editor
from napari_iseg.widgets.layers import SESSION, ClickLayers

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_iseg.widgets.click_controller import ClickController


def at_work(folder: Path, but: ClickLayers | None = None) -> Editor | None:
    """The editor that goes on in a folder, in whichever dock of this program; None where there is none.

    One whose session another program went on with does not: it can record nothing more.

    ``but`` : the layers of an editor that does not count
    """
    found = (editor for editor in _editors_at(folder) if editor.layers is not but)
    return next((editor for editor in found if editor.session is None or not editor.session.outdated), None)


def opening(folder: Path) -> ClickController | None:
    """The dock of this program that is opening a folder's session, of which it may have no editor yet."""
    found = (dock for dock in _docks() if folder.resolve() in dock.files.opening)
    return next(found, None)


def images_of(controller: ClickController, folder: Path) -> list[Image]:
    """Those of the viewer that are worked on in a folder, or beside which a dock has left its labels."""
    layers = controller.viewer.layers
    notes = [layer.metadata[SESSION] for layer in layers if layer.metadata.get(SESSION)]
    left = {note[0] for note in notes if _same(Path(note[-1]), folder)}
    worked_on = [editor.layers.image for editor in _editors_at(folder)]
    return [layer for layer in layers if layer in worked_on or str(layer.unique_id) in left]


def _editors_at(folder: Path) -> Iterator[Editor]:
    for editor in (editor for dock in _docks() for editor in dock.editors):
        if editor.folder is not None and _same(editor.folder, folder):
            yield editor


def _docks() -> list[ClickController]:
    from qtpy.QtWidgets import QApplication

    from napari_iseg.widgets.click_dock import ClickDock

    docks = [widget.controller for widget in QApplication.allWidgets() if isinstance(widget, ClickDock)]
    return [dock for dock in docks if not dock.closed]


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()
