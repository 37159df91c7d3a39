"""Asking where to save."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QWidget

TIFF, OME_ZARR = "TIFF (*.tif *.tiff)", "OME-Zarr (*.zarr)"
GEOPACKAGE, GEOJSON = "GeoPackage (*.gpkg)", "GeoJSON (*.geojson)"


def ask_where(
    parent: QWidget, title: str, name: str, kinds: Sequence[str], then: Callable[[Path], None]
) -> None:
    """Ask for a file, whose ending is that of the chosen kind; the window stays usable.

    Parameters
    ----------
    name : suggested, without an ending
    kinds : as Qt writes them, "TIFF (*.tif *.tiff)"; the first is chosen
    then : gets what the user chose
    """
    dialog = QFileDialog(parent, title, name.replace(".", "_"), ";;".join(kinds))  # a dot would be an ending
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)

    def chosen(kind: str) -> None:
        dialog.setDefaultSuffix(kind.split("*.")[1].split()[0].rstrip(")"))

    chosen(kinds[0])
    dialog.filterSelected.connect(chosen)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.fileSelected.connect(lambda file: then(Path(file)))
    dialog.open()
