"""The dock keeps up with what the user does to the viewer and to the image beside it."""

from __future__ import annotations

import numpy as np

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
    ours = bench.editor.layers.ours
    assert len(ours) == 3
    image.units = ("nm", "nm")
    image.axis_labels = ("rows", "columns")
    for layer in ours:
        assert (layer.units, layer.axis_labels) == (image.units, image.axis_labels)


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
