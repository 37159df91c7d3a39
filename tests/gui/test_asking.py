"""The dialog that asks where to save: its ending is that of the chosen kind."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QWidget

from napari_iseg.widgets.asking import GEOJSON, GEOPACKAGE, OME_ZARR, TIFF, ask_where


def test_the_ending_is_that_of_the_kind(qtbot):
    parent, chosen = QWidget(), []
    qtbot.addWidget(parent)
    ask_where(parent, "Save", "a.b", [TIFF, OME_ZARR, GEOPACKAGE], chosen.append)
    dialog = parent.findChild(QFileDialog)
    assert Path(dialog.selectedFiles()[0]).name == "a_b.tif"
    for kind, ending in ((OME_ZARR, "zarr"), (GEOPACKAGE, "gpkg"), (GEOJSON, "geojson"), (TIFF, "tif")):
        dialog.filterSelected.emit(kind)
        assert dialog.defaultSuffix() == ending
    dialog.fileSelected.emit("/somewhere/x.zarr")
    assert chosen == [Path("/somewhere/x.zarr")]
    dialog.close()
