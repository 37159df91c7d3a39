"""The dock says where clicks go, what is missing in labels saved or left, and which model answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QLabel, QSlider, QWidget

from napari_iseg.widgets.asking import TIFF, ask_where
from napari_iseg.widgets.dock_parts import SmallLabel

from .conftest import Bench
from .test_boxes import BoxLoader, drag
from .test_session_files import OneModel, TwoModels

IMAGE = np.random.default_rng(0).integers(0, 255, (128, 128), dtype=np.uint8)
STACK = np.stack([IMAGE] * 2)


@pytest.fixture(autouse=True)
def _nothing_said() -> None:
    notification_manager.records.clear()


def begun(bench: Bench, data: Any = IMAGE, loader: Any = None) -> Any:
    """A dock on an image "cells" that is chosen in the list of layers."""
    bench.loader = loader or bench.loader
    bench.viewer.add_image(data, name="cells")
    return bench.open()


def committed(bench: Bench, *points: Any) -> None:
    for point in points:
        bench.click(point)
        bench.do("commit")


def activate(bench: Bench, layer: Any) -> str:
    """The status once this layer is the active one."""
    bench.viewer.layers.selection.active = layer
    bench.rest()
    return bench.dock.status.text()


def close(bench: Bench) -> None:
    bench.viewer.window.remove_dock_widget(bench.dock)
    assert bench.dock.controller.worker.join(10)


def test_clicks_that_do_not_arrive_are_said_whatever_was_said_before(bench: Bench) -> None:
    dock = begun(bench)
    committed(bench, (60, 60))
    assert dock.status.text() == "Committed as label 1. Click on the next object."
    layers, select = bench.editor.layers, "Select the layer “cells clicks”; "
    assert activate(bench, layers.image) == f"{select}clicks and keys go to another one now."
    dock.controller.say("Saved x.tif.")  # by a button, which works all the same
    assert dock.status.text().startswith(f"Saved x.tif. {select}")
    assert activate(bench, layers.committed) == f"{select}clicks go to another one now."
    assert activate(bench, layers.points) == "Click on an object."


def test_what_was_said_ends_with_the_plane(bench: Bench) -> None:
    dock = begun(bench, STACK)
    bench.viewer.dims.set_point(0, 0)
    committed(bench, (0, 60, 60))
    bench.viewer.dims.set_point(0, 1)
    bench.settle()
    assert dock.status.text() == "Click on an object."
    bench.click((1, 60, 60))
    bench.viewer.dims.set_point(0, 0)
    committed(bench, (0, 20, 20))
    bench.viewer.dims.set_point(0, 1)
    bench.settle()
    assert "commit (Enter)" in dock.status.text()


def test_drawing_a_box_is_asked_for_in_every_plane(bench: Bench) -> None:
    dock = begun(bench, STACK, BoxLoader())
    bench.viewer.dims.set_point(0, 0)
    bench.do("box")
    assert "Drag a box" in dock.status.text()
    bench.viewer.dims.set_point(0, 1)
    bench.settle()
    assert "Drag a box" in dock.status.text()
    bench.do("reset")
    assert "Drag a box" not in dock.status.text()


def test_a_dock_opened_again_goes_on_with_the_model_it_was_closed_with(bench: Bench) -> None:
    dock = begun(bench, loader=TwoModels())
    dock.use_model("wide")
    committed(bench, (30, 30))
    bench.click((90, 90))
    mask = bench.editor.session.mask
    close(bench)
    dock = bench.open()
    bench.settle()
    assert dock.models.card.name == "wide"
    assert bench.editor.session.model.card.name == "wide"
    np.testing.assert_array_equal(bench.editor.session.mask, mask)
    bench.do("undo")
    bench.click((90, 90))
    np.testing.assert_array_equal(bench.editor.session.mask, mask)
    assert "Answered in" in dock.status.text()


def test_a_session_left_with_another_model_follows_the_one_chosen_since_and_says_so(bench: Bench) -> None:
    dock = begun(bench, loader=TwoModels())
    dock.use_model("wide")
    committed(bench, (30, 30))
    close(bench)
    other = bench.viewer.add_image(IMAGE, name="other")
    dock = bench.open()
    dock.controller.choose_image(other)
    bench.click((60, 60))
    dock.controller.choose_image(bench.viewer.layers["cells"])
    bench.settle()
    assert dock.models.card.name == bench.editor.session.model.card.name == "disks"
    assert "wide" in dock.status.text()


def test_a_session_left_with_a_model_that_is_gone_says_so(bench: Bench) -> None:
    dock = begun(bench, loader=TwoModels())
    dock.use_model("wide")
    committed(bench, (30, 30))
    close(bench)
    bench.loader = OneModel()
    dock = bench.open()
    bench.settle()
    assert "The session's model wide is not here" in dock.status.text()
    assert bench.editor.session.model.card.name == "disks"


def test_a_reopened_object_is_said_to_be_missing_in_what_is_saved(
    bench: Bench, tmp_path: Path, monkeypatch: Any
) -> None:
    dock = begun(bench)
    committed(bench, (30, 30), (90, 90))
    file = tmp_path / "x.tif"
    monkeypatch.setattr(dock, "ask_for_file", lambda _name, then: then(file))
    bench.do("pick")
    bench.click((90, 90))
    bench.do("save")
    again = "commit it (Enter) and save again."
    assert dock.status.text() == f"Saved {file}. Object 2 is open and not in it; {again}"
    assert np.unique(tifffile.imread(file)).tolist() == [0, 1]
    bench.do("commit")
    bench.do("save")
    assert dock.status.text() == f"Saved {file}."
    bench.click((60, 60))
    bench.do("save")
    assert dock.status.text() == f"Saved {file}. The object that is open is not in it; {again}"


def test_objects_open_on_other_planes_are_said_to_be_missing_in_what_is_saved(
    bench: Bench, tmp_path: Path, monkeypatch: Any
) -> None:
    dock = begun(bench, STACK)
    bench.viewer.dims.set_point(0, 0)
    committed(bench, (0, 30, 30))
    bench.click((0, 60, 60))
    bench.viewer.dims.set_point(0, 1)
    bench.settle()
    file = tmp_path / "x.tif"
    monkeypatch.setattr(dock, "ask_for_file", lambda _name, then: then(file))
    bench.do("save")
    again = "open and not in it; commit on each plane (Enter) and save again."
    assert dock.status.text() == f"Saved {file}. An object on plane 0 is {again}"
    bench.click((1, 60, 60))
    bench.do("save")
    assert dock.status.text() == f"Saved {file}. Objects on planes 0, 1 are {again}"


def test_a_reopened_object_that_was_reset_is_said_to_be_removed(bench: Bench) -> None:
    dock = begun(bench)
    committed(bench, (30, 30), (90, 90))
    bench.do("pick")
    bench.click((90, 90))
    bench.click((90, 70))
    bench.do("reset")
    assert dock.status.text() == "Object 2 was removed. Undo (Ctrl+Z) brings it back."
    for _ in range(3):  # reset, click, reopening
        bench.do("undo")
    assert sorted(bench.editor.session.objects) == [1, 2]
    bench.click((60, 60))
    bench.do("reset")
    assert dock.status.text() == "Click on an object."


def test_a_reopened_object_is_said_to_be_missing_in_the_labels_that_stay(bench: Bench) -> None:
    begun(bench)
    committed(bench, (30, 30), (90, 90))
    bench.do("pick")
    bench.click((90, 90))
    close(bench)
    (said,) = notification_manager.records
    assert "Object 2 is open and not in the labels that stay" in said.message
    dock = bench.open()
    bench.settle()
    assert bench.editor.session.reopened == {(): 2}
    bench.viewer.layers.remove(bench.viewer.layers["cells"])
    bench.rest()
    assert len(notification_manager.records) == 2
    assert "Open session…" in notification_manager.records[-1].message
    dock.shut_down()
    assert len(notification_manager.records) == 2


def test_where_no_labels_stay_the_way_back_to_a_reopened_object_is_the_session(bench: Bench) -> None:
    begun(bench)
    committed(bench, (30, 30), (90, 90))
    bench.do("pick")
    bench.click((90, 90))
    folder = bench.editor.session.folder
    bench.viewer.layers.remove(bench.editor.layers.committed)
    bench.rest()
    close(bench)
    (said,) = notification_manager.records
    assert "Open the dock again, bring the session back with Open session…, and commit it" in said.message
    dock = bench.open()
    bench.rest()
    dock.controller.files.open(folder)
    bench.rest()
    assert bench.editor.session.reopened == {(): 2}


def test_names_are_shown_as_they_are(bench: Bench) -> None:
    name = "A<B> & <i>x</i> <!-- y"
    image = bench.viewer.add_image(IMAGE, name=name)
    dock = bench.open()
    assert f"“{name} clicks”" in activate(bench, image)
    assert dock.status.textFormat() == dock.activity.textFormat() == Qt.TextFormat.PlainText
    assert SmallLabel().textFormat() == Qt.TextFormat.PlainText
    assert dock.models.about.textFormat() == dock.help.textFormat() == Qt.TextFormat.RichText


def test_what_a_card_says_is_not_taken_for_html(bench: Bench) -> None:
    loader = TwoModels()
    cards = loader.cards()
    object.__setattr__(cards[0], "good_at", "areas < 9 px & <b>thin</b>")
    loader.cards = lambda: cards
    dock = begun(bench, loader=loader)
    assert "areas &lt; 9 px &amp; &lt;b&gt;thin&lt;/b&gt;" in dock.models.about.text()


def test_every_field_of_the_dock_has_a_name(bench: Bench) -> None:
    dock = begun(bench)
    buddies = {label.buddy(): label.text() for label in dock.findChildren(QLabel) if label.buddy()}
    fields = {
        dock.image_combo: "Image",
        dock.models.combo: "Model",
        dock.edge_models: "Edges",
        dock.device: "Device",
        dock.options.steps: "Refinement",
        dock.label: "Label",
    }
    for field, name in fields.items():
        assert field.accessibleName() == name or buddies.get(field) == name
    assert dock.options.threshold.findChild(QSlider).accessibleName() == "Threshold"
    assert dock.models.focusProxy() is dock.models.combo


def test_reopening_beside_an_open_box_says_what_is_open(bench: Bench) -> None:
    dock = begun(bench, loader=BoxLoader())
    committed(bench, (30, 30))
    bench.do("box")
    drag(bench, (59.5, 59.5), (99.5, 99.5))
    bench.do("pick")
    bench.click((30, 30))
    assert "Another object is open in this plane; commit or reset it" in dock.status.text()


def test_the_mask_of_a_box_may_be_committed_under_a_model_without_boxes(bench: Bench) -> None:
    dock = begun(bench, loader=BoxLoader())
    bench.do("box")
    drag(bench, (19.5, 19.5), (59.5, 59.5))
    bench.do("refine_edges")
    bench.do("commit")
    dock.use_model("disks")
    bench.settle()
    bench.do("pick")
    bench.click((40, 40))
    assert bench.editor.session.has_mask
    assert "commit (Enter)" in dock.status.text()
    bench.do("commit")
    assert sorted(bench.editor.session.objects) == [1]


def test_suggested_names_are_those_a_file_can_have(qtbot: Any, bench: Bench, monkeypatch: Any) -> None:
    parent = QWidget()
    qtbot.addWidget(parent)
    ask_where(parent, "Save", 'raw/a\\b: "c*d?" <e>|f_labels', [TIFF], print)
    dialog = parent.findChild(QFileDialog)
    assert Path(dialog.selectedFiles()[0]).name == "raw_a_b_ _c_d__ _e__f_labels.tif"
    dialog.close()
    bench.viewer.add_image(IMAGE, name="volumes/raw")
    dock = bench.open()
    asked: list[str] = []
    monkeypatch.setattr(dock, "ask_for_new_folder", lambda _title, name, _then: asked.append(name))
    bench.click((60, 60))
    bench.do("save_session")
    assert asked == ["volumes_raw.iseg"]
