"""The dock keeps up with what the user does to the viewer and to the image beside it."""

from __future__ import annotations

import numpy as np

from napari_iseg.interactive.session_folder import read_info

STACK = np.random.default_rng(4).integers(0, 255, (3, 200, 220), dtype=np.uint8)


def test_undo_shows_the_plane_that_it_goes_back_to(bench):
    viewer = bench.viewer
    viewer.add_image(STACK, scale=(2, 1, 1))
    bench.open()
    viewer.dims.set_point(0, 0)
    bench.click((0, 60, 70))
    viewer.dims.set_point(0, 2)
    bench.do("undo")
    assert viewer.dims.point[0] == 0
    viewer.dims.set_point(0, 2)
    bench.do("redo")
    assert viewer.dims.point[0] == 0
    assert bench.editor.session.plane == (0,)
    bench.do("commit")  # from here on undo may write labels, and runs in the worker
    viewer.dims.set_point(0, 4)
    bench.settle()
    bench.do("undo")
    assert viewer.dims.point[0] == 0
    assert [plane for plane, _ in bench.editor.clicks] == [(0,)]


def test_undoing_the_first_click_or_box_stays_on_its_plane(bench):
    bench.viewer.add_image(STACK)
    bench.open()
    bench.viewer.dims.set_point(0, 2)
    bench.click((2, 60, 70))
    bench.do("undo")
    assert bench.viewer.dims.point[0] == 2
    assert bench.editor.session.plane == (2,)


def test_scale_and_units_given_after_the_dock_was_opened_count(bench):
    image = bench.viewer.add_image(STACK[0])
    bench.open()
    image.scale = (0.25, 0.25)
    image.units = ("um", "um")
    image.axis_labels = ("y", "x")
    bench.click((60, 70))
    bench.do("commit")
    space = bench.editor.session.labels.space
    assert (tuple(space.scale), tuple(space.axes)) == ((0.25, 0.25), ("y", "x"))
    assert [str(unit) for unit in space.units] == ["micrometer", "micrometer"]
    image.scale, image.translate = (0.5, 0.5), (3, 4)  # late: the labels made already lie there too
    bench.qtbot.waitUntil(lambda: bench.editor.session.labels.space.scale == (0.5, 0.5), timeout=5000)
    bench.settle()
    session = bench.editor.session
    recorded = read_info(session.folder)["labels"]
    assert (recorded["scale"], recorded["translate"]) == ([0.5, 0.5], [3.0, 4.0])
    space = session.labels.space
    assert (space.scale, space.translate, space.axes) == ((0.5, 0.5), (3.0, 4.0), ("y", "x"))
    ours = bench.editor.layers.ours
    assert len(ours) == 3
    image.units = ("nm", "nm")
    image.axis_labels = ("rows", "columns")
    for layer in ours:
        assert (layer.units, layer.axis_labels) == (image.units, image.axis_labels)


def test_the_status_says_which_layer_takes_clicks(bench):
    image = bench.viewer.add_image(STACK[0], name="cells")
    dock = bench.open()
    bench.click((60, 70))
    assert "Answered" in dock.status.text()
    bench.viewer.layers.selection.active = image
    bench.rest()
    assert "Select the layer “cells clicks”" in dock.status.text()
    bench.viewer.layers.selection.active = bench.editor.layers.points
    bench.rest()
    assert "Answered" in dock.status.text()


def test_what_was_said_of_a_plane_is_gone_in_3d_and_back(bench):
    bench.viewer.add_image(STACK)
    dock = bench.open()
    bench.dock.controller.click_world((0, -50, -50), True)
    assert "outside" in dock.status.text()
    bench.viewer.dims.ndisplay = 3
    assert "2D" in dock.status.text()
    bench.viewer.dims.ndisplay = 2
    assert dock.status.text() == "Click on an object."


def test_a_renamed_image_has_its_new_name_in_the_list(bench):
    image = bench.viewer.add_image(STACK[0], name="cells")
    bench.viewer.add_image(STACK[0], name="others")
    dock = bench.open()
    bench.click((60, 70))
    known = bench.editor
    image.name = "cells, day 2"
    assert [dock.image_combo.itemText(k) for k in range(2)] == ["others", "cells, day 2"]
    assert bench.editor is known


def test_new_pixels_start_anew_and_the_results_stay(bench):
    image = bench.viewer.add_image(STACK[0], name="cells")
    dock = bench.open()
    bench.click((60, 70))
    bench.do("commit")
    bench.click((100, 100))
    found = bench.editor.layers.committed
    larger = np.full((400, 500), 7, np.uint8)
    image.data = larger
    bench.settle()
    assert bench.editor.clicks == []
    assert "new pixels" in dock.status.text()
    assert "not committed are gone from view; its session has them" in dock.status.text()
    bench.click((350, 450))  # outside what was there before
    assert bench.editor.session.mask.shape == (400, 500)
    assert bench.editor.session.mask[350, 450]
    assert found in bench.viewer.layers
    assert np.asarray(found.data).any()
    dock.shut_down()
    assert dock.controller._data_replaced not in image.events.data.callbacks


def test_an_empty_answer_is_called_so(bench):
    bench.viewer.add_image(STACK[0])
    dock = bench.open()
    bench.click((60, 70), positive=False)
    assert dock.status.text().startswith("Nothing was found")
    assert not dock.actions.buttons["commit"].isEnabled()
    bench.click((120, 120))
    assert dock.status.text().startswith("Answered in")
    assert dock.actions.buttons["commit"].isEnabled()


def test_the_seconds_are_those_of_the_answer(bench, qtbot):
    bench.viewer.add_image(STACK[0])
    bench.open()
    bench.click((60, 70))
    qtbot.wait(1200)
    bench.dock.controller.choose_options(bench.dock.controller.choice.options.__class__(refine_steps=1))
    bench.settle()
    assert bench.editor.seconds < 1


def test_a_plane_shown_while_the_model_loads_is_the_one_worked_on(bench):
    bench.viewer.add_image(STACK)
    dock = bench.open()
    bench.loader.seconds = 0.3
    bench.viewer.dims.set_point(0, 0)
    dock.controller.click_world((0, 60, 70), True)
    bench.viewer.dims.set_point(0, 2)
    bench.settle()
    assert bench.editor.session.plane == (2,)
    bench.do("commit")
    assert bench.editor.session.objects == {}


def test_a_plane_shown_while_another_image_is_worked_on_is_the_one_worked_on(bench):
    first, other = [bench.viewer.add_image(STACK, name=name) for name in ("first", "other")]
    dock = bench.open()
    dock.controller.choose_image(first)
    bench.viewer.dims.set_point(0, 0)
    bench.click((0, 60, 70))
    dock.controller.choose_image(other)
    bench.viewer.dims.set_point(0, 2)
    dock.controller.choose_image(first)
    bench.settle()
    assert bench.editor.session.plane == (2,)
    assert bench.editor.clicks == []


def test_the_status_says_how_to_leave_a_tool_of_napari_and_its_clicks_stay_selected(bench):
    bench.viewer.add_image(STACK[0])
    dock = bench.open()
    bench.click((60, 70))
    points = bench.editor.layers.points
    points.mode = "select"
    assert "Press Z" in dock.status.text()
    points.selected_data = {0}
    points.data = np.array([[80.0, 90.0]])  # dragged
    bench.settle()
    assert "Press Z" in dock.status.text()
    assert points.selected_data == {0}
    points.remove_selected()
    bench.rest()
    assert bench.editor.session.clicks == ()
    points.mode = "pan_zoom"
    assert dock.status.text() == "Click on an object."
    assert points.cursor == "crosshair"


def test_layers_that_the_user_named_keep_their_names(bench):
    image = bench.viewer.add_image(STACK[0], name="cells")
    bench.open()
    bench.click((60, 70))
    bench.do("commit")
    layers = bench.editor.layers
    layers.committed.name = "cells objects, do not touch"
    image.name = "day 2"
    assert layers.committed.name == "cells objects, do not touch"
    assert (layers.points.name, layers.current.name) == ("day 2 clicks", "day 2 current object")


def test_an_image_that_was_taken_out_and_put_back_at_once_is_listened_to(bench):
    image = bench.viewer.add_image(STACK[0], name="cells")
    bench.open()
    bench.click((60, 70))
    known, layers = bench.editor, bench.viewer.layers
    layers.remove(image)
    layers.insert(0, image)
    bench.rest()
    image.name = "day 2"
    assert known.layers.points.name == "day 2 clicks"
    image.data = STACK[1]
    bench.rest()
    assert bench.editor is not known
    layers.remove(image)
    bench.rest()
    assert bench.dock.controller._data_replaced not in image.events.data.callbacks
