"""Asking where to save."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_iseg.widgets.scene import image_shape

if TYPE_CHECKING:
    from napari.layers import Image

TIFF, OME_ZARR = "TIFF (*.tif *.tiff)", "OME-Zarr (*.zarr)"
GEOPACKAGE, GEOJSON = "GeoPackage (*.gpkg)", "GeoJSON (*.geojson)"
_LONGEST = 200  # bytes; file systems take 255, an ending and a temporary name come on top


def with_outlines(kinds: Sequence[str], image: Image | None) -> list[str]:
    """Kinds of file for the labels of an image: a scene has outlines too."""
    flat = image is not None and len(image_shape(image)) == 2
    return [*kinds, GEOPACKAGE, GEOJSON] if flat else list(kinds)


def as_file_name(name: str) -> str:
    """A layer's name without what the name of a file cannot have on any system, and not too long for one."""
    fitting = re.sub(r'[/\\:*?"<>|\x00-\x1f]', "_", name)
    while len(fitting.encode()) > _LONGEST:
        fitting = fitting[:-1]
    return fitting


def ask_where(
    parent: QWidget, title: str, name: str, kinds: Sequence[str], then: Callable[[Path], None]
) -> None:
    """Ask for a file, whose ending is that of the chosen kind; the window stays usable.

    Parameters
    ----------
    name : suggested, without an ending; what a file's name cannot have is replaced
    kinds : as Qt writes them, "TIFF (*.tif *.tiff)"; the first is chosen
    then : gets what the user chose
    """
    name = as_file_name(name).replace(".", "_")  # a dot would be an ending
    dialog = QFileDialog(parent, title, name, ";;".join(kinds))
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)

    def chosen(kind: str) -> None:
        dialog.setDefaultSuffix(kind.split("*.")[1].split()[0].rstrip(")"))

    chosen(kinds[0])
    dialog.filterSelected.connect(chosen)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.fileSelected.connect(lambda file: then(Path(file)))
    dialog.open()
