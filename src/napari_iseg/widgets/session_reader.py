"""File > Open on a session's session.toml: the dock opens with everything in it.

Not on its folder: npe2 asks a reader of folders about every one, OME-Zarr too, and napari then asks the user.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_iseg.errors import InputError

if TYPE_CHECKING:
    import napari

    from napari_iseg.widgets.click_dock import ClickDock

INFO, JOURNAL = "session.toml", "journal.jsonl"
DOCK = "Click segmentation"
Reader = Callable[[str | Sequence[str]], list[tuple[Any, ...]]]


def get_reader(path: str | Sequence[str]) -> Reader | None:
    """A reader for a session's folder or session.toml; None for everything else."""
    return read_session if not isinstance(path, list | tuple) and session_folder(str(path)) else None


def read_session(path: str | Sequence[str]) -> list[tuple[Any, ...]]:
    """Have the dock of the present viewer open the session.

    It reads the image by napari's own readers and adds all layers itself, a moment later.

    Raises
    ------
    InputError
        There is no viewer with a window.
    """
    import napari
    from qtpy.QtCore import QTimer

    folder = session_folder(str(path))
    viewer = napari.current_viewer()
    if folder is None or viewer is None:
        raise InputError(f"{path} opens in napari's window; in Python use Session.open(folder, image).")
    QTimer.singleShot(0, lambda: click_dock(viewer).controller.files.open(folder))
    return [(None,)]  # napari's way to say: read, and there is no layer to add


def session_folder(path: str) -> Path | None:
    """The folder of the session that a path means, or None."""
    folder = Path(path).parent if Path(path).name == INFO else Path(path)
    return folder if (folder / INFO).is_file() and (folder / JOURNAL).is_file() else None


def click_dock(viewer: napari.Viewer) -> ClickDock:
    """The viewer's click dock, opened if it is not, in front of docks that share its place."""
    from napari_iseg.widgets.click_dock import ClickDock

    docked = list(viewer.window.dock_widgets.values())
    for widget in docked:
        if isinstance(widget, ClickDock):
            place = widget.parentWidget()
            if place is not None:
                place.show()
                place.raise_()
            return widget
    _, made = viewer.window.add_plugin_dock_widget("napari-iseg", DOCK)
    assert isinstance(made, ClickDock), "the manifest names it"
    return made
