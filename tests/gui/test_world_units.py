"""Layers in several units of length: clicks, boxes and slices lie where the viewer shows them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_iseg.prompts import Window
from napari_iseg.widgets import scene
from napari_iseg.widgets.box_layer import BoxLayer
from napari_iseg.widgets.layers import ClickLayers
from napari_iseg.widgets.placement import PlaneAxes

PIXELS = np.zeros((4, 60, 80), np.uint8)
COARSE = {"scale": (2, 0.12, 0.12), "units": ("um", "um", "um")}
FINE = {"scale": (2000, 120, 120), "units": ("nm", "nm", "nm")}
MIXED = {"scale": (2, 120, 120), "units": ("um", "nm", "nm")}
AXES = PlaneAxes(3, 1, 2)


@pytest.fixture
def viewer() -> Any:
    return ViewerModel()


@pytest.mark.parametrize("placed", [COARSE, FINE, MIXED], ids=["um", "nm", "um and nm"])
def test_a_place_in_the_viewer_is_the_pixel_that_is_seen_there(viewer, placed):
    image = viewer.add_image(PIXELS, **placed)
    viewer.add_image(PIXELS, **FINE)
    seen = (3 * 2000.0, 20 * 120.0, 31 * 120.0)
    np.testing.assert_allclose(scene.to_world(viewer, image, (3, 20, 31)), seen)
    np.testing.assert_allclose(scene.to_data(viewer, image, seen), (3, 20, 31))
    plane, *place = scene.locate(viewer, image, AXES, seen)
    assert (plane, place) == ((3,), pytest.approx([20, 31]))
    assert scene.locate(viewer, image, AXES, (3 * 2000, 70 * 120, 0)) is None
    scene.go_to(viewer, image, AXES, (3,))
    assert viewer.dims.point[0] == pytest.approx(6000)
    assert scene.shown_plane(viewer, image, AXES) == (3,)
    scene.look_at(viewer, image, AXES, (3,), Window(20, 30, 40, 50))
    camera = (viewer.scene if hasattr(viewer, "scene") else viewer).camera
    np.testing.assert_allclose(camera.center[-2:], (29.5 * 120, 39.5 * 120))
    window = scene.visible_window(image, AXES, viewer)
    assert (window.top + window.bottom, window.left + window.right) == pytest.approx((60, 80), abs=2)
    assert min(window.bottom - window.top, window.right - window.left) == pytest.approx(25, abs=2)


def test_layers_of_other_kinds_of_units_keep_their_own(viewer):
    image = viewer.add_image(PIXELS, **COARSE)
    viewer.add_image(PIXELS)  # in pixels, which are no lengths: napari converts nothing
    np.testing.assert_allclose(scene.to_world(viewer, image, (3, 20, 31)), (6, 2.4, 3.72))


def test_a_layer_of_fewer_axes_takes_the_last_ones(viewer):
    image = viewer.add_image(PIXELS[0], scale=(0.12, 0.12), units=("um", "um"))
    viewer.add_image(PIXELS, **FINE)
    np.testing.assert_allclose(scene.to_data(viewer, image, (6000, 2400, 3720)), (20, 31))
    np.testing.assert_allclose(scene.to_world(viewer, image, (20, 31)), (2400, 3720))


def test_a_box_in_the_larger_unit_has_its_size_on_the_screen(viewer):
    image = viewer.add_image(PIXELS, **COARSE)
    viewer.add_image(PIXELS, **FINE)
    boxes: BoxLayer = ClickLayers(viewer, image, AXES).boxes
    layer = viewer.add_layer(boxes.make())
    layer.scale_factor = 120.0  # a pixel of the image is one of the screen
    boxes.draw()
    layer.add_rectangles([AXES.join((1,), row, col) for row, col in ((10, 10), (10, 40), (30, 40), (30, 10))])
    plane, box = boxes.read()
    assert (plane, box.row1 - box.row0, box.col1 - box.col0) == ((1,), 20, 30)


def test_a_click_is_answered_where_another_image_has_a_smaller_unit(bench):
    image = bench.viewer.add_image(PIXELS, **COARSE)
    bench.viewer.add_image(PIXELS, visible=False, **FINE)
    dock = bench.open()
    dock._image_activated(dock.image_combo.findText(image.name))
    dock.controller.click_world((2000, 20 * 120, 31 * 120), True)
    bench.settle()
    assert bench.editor.session is not None, dock.status.text()
    assert bench.editor.session.plane == (1,)
    assert [(click.row, click.col) for click in bench.editor.session.clicks] == [pytest.approx((20, 31))]
    points = bench.editor.layers.points
    points.add((1, 40, 50))  # with napari's own tool
    bench.settle()
    assert [(click.row, click.col) for click in bench.editor.session.clicks][1:] == [pytest.approx((40, 50))]
