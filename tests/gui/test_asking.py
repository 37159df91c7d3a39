"""The dialog that asks where to save: its ending is that of the chosen kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_iseg.widgets.asking import GEOJSON, GEOPACKAGE, OME_ZARR, TIFF, ask_where
from napari_iseg.widgets.fewshot_saving import suggestion


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


@pytest.mark.parametrize(("shape", "kinds"), [((40, 50), [GEOPACKAGE, GEOJSON]), ((3, 40, 50), [])])
def test_labels_of_a_plane_may_be_saved_as_outlines_from_both_docks(bench, monkeypatch, shape, kinds):
    asked = []
    monkeypatch.setattr("napari_iseg.widgets.click_dock.ask_where", lambda *given: asked.append(given[3]))
    image = bench.viewer.add_image(np.zeros(shape, np.uint8))
    bench.open()
    bench.dock.ask_for_file("labels", print)
    assert asked == [[TIFF, OME_ZARR, *kinds]]
    assert suggestion(image)[1] == [OME_ZARR, TIFF, *kinds]
