"""The outline of a box is seen at every zoom; boxes come and go with the model without holding the window."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from napari.layers import Shapes

from napari_iseg.prompts import Box

from .conftest import Bench
from .napari_versions import camera_of
from .test_boxes import BoxLoader, drag
from .test_lifecycle import Heartbeat

DARK = np.zeros((512, 512), np.uint8)


@pytest.fixture
def boxes(bench: Bench) -> Bench:
    bench.loader = BoxLoader()
    return bench


@pytest.fixture
def shown(make_napari_viewer: Any, qtbot: Any, tmp_path: Any) -> Iterator[Bench]:
    made = Bench(make_napari_viewer(show=True), qtbot, tmp_path)
    made.loader = BoxLoader()
    yield made
    made.dock.shut_down()
    assert made.dock.controller.worker.join(10)


def cyan(bench: Bench) -> int:
    """How many pixels of the canvas have the colour of a box."""
    seen = bench.viewer.screenshot(canvas_only=True, flash=False).astype(int)
    return int(((seen[..., 2] > seen[..., 0] + 100) & (seen[..., 1] > seen[..., 0] + 80)).sum())


def test_the_outline_of_a_small_box_is_seen_at_every_zoom(shown: Bench) -> None:
    shown.viewer.add_image(DARK, contrast_limits=(0, 255))
    shown.open()
    shown.do("box")
    layers = shown.editor.layers
    camera_of(shown.viewer).zoom = 1
    shown.viewer.screenshot(canvas_only=True, flash=False)  # drawn at this zoom
    assert layers.boxes.layer.current_edge_width == pytest.approx(2)  # what is being drawn is seen too
    drag(shown, (229.5, 229.5), (269.5, 269.5))
    layers.current.visible = False
    for zoom in (1, 0.4, 4):
        camera_of(shown.viewer).zoom = zoom
        shown.viewer.screenshot(canvas_only=True, flash=False)
        assert cyan(shown) > 1.5 * 160 * zoom, zoom


def test_the_outline_is_as_wide_beside_pixels_of_any_size(boxes: Bench) -> None:
    image = boxes.viewer.add_image(DARK, scale=(4, 0.5))
    boxes.open()
    camera_of(boxes.viewer).zoom = 4
    boxes.do("box")
    drag(boxes, image.data_to_world((19.5, 29.5)), image.data_to_world((59.5, 99.5)))
    layer = boxes.editor.layers.boxes.layer
    layer.scale_factor = 0.25  # as the canvas has it, should it not have been drawn yet
    assert layer.edge_width == [pytest.approx(1)]  # of 0.5 each, which is 2 pixels of the screen
    camera_of(boxes.viewer).zoom = layer.scale_factor = 1
    assert layer.edge_width == [pytest.approx(4)]
    boxes.do("undo")
    boxes.do("redo")
    assert layer.edge_width == [pytest.approx(4)]


def shapes_of(bench: Bench) -> list[Any]:
    return [layer for layer in bench.viewer.layers if isinstance(layer, Shapes)]


def test_boxes_are_put_out_of_sight_and_back_with_the_model(boxes: Bench) -> None:
    boxes.viewer.add_image(DARK)
    dock = boxes.open()
    boxes.click((60, 60))
    layer = boxes.editor.layers.boxes.layer
    boxes.do("box")
    dock.use_model("disks")
    boxes.settle()
    assert shapes_of(boxes) == [layer]
    assert not layer.visible
    assert not layer.editable  # a shape drawn there would mean nothing
    assert boxes.viewer.layers.selection.active is boxes.editor.layers.points
    assert "draw a box" not in dock.status.text()
    dock.use_model("fill")
    boxes.settle()
    assert shapes_of(boxes) == [layer]
    assert layer.visible
    assert layer.editable
    boxes.do("box")
    drag(boxes, (19.5, 29.5), (59.5, 99.5))
    assert boxes.editor.session.current_box == Box(20, 30, 60, 100)
    boxes.do("undo")
    dock.use_model("disks")
    boxes.settle()
    dock.shut_down()
    assert shapes_of(boxes) == []


def test_a_box_comes_back_with_its_plane_under_a_model_without_boxes(boxes: Bench) -> None:
    boxes.viewer.add_image(np.stack([DARK] * 2))
    dock = boxes.open()
    boxes.viewer.dims.set_point(0, 0)
    boxes.do("box")
    drag(boxes, (0, 19.5, 29.5), (0, 59.5, 99.5))
    dock.use_model("disks")
    boxes.settle()
    layer = boxes.editor.layers.boxes.layer
    boxes.viewer.dims.set_point(0, 1)
    boxes.settle()
    assert (layer.nshapes, layer.visible) == (0, False)
    boxes.viewer.dims.set_point(0, 0)
    boxes.settle()
    assert boxes.editor.layers.boxes.layer is layer
    assert (layer.nshapes, layer.visible) == (1, True)


def test_boxes_that_the_user_hid_or_removed_are_as_the_user_wants_them(boxes: Bench) -> None:
    boxes.viewer.add_image(DARK)
    dock = boxes.open()
    boxes.click((60, 60))
    layer = boxes.editor.layers.boxes.layer
    layer.visible = False
    for name in ("disks", "fill"):
        dock.use_model(name)
        boxes.settle()
    assert not layer.visible
    dock.use_model("disks")
    boxes.settle()
    boxes.viewer.layers.remove(layer)
    boxes.rest()
    dock.use_model("fill")
    boxes.settle()
    assert shapes_of(boxes) == [boxes.editor.layers.boxes.layer]


def test_another_model_does_not_hold_the_window(shown: Bench) -> None:
    shown.viewer.add_image(DARK)
    dock = shown.open()
    shown.click((60, 60))
    held: list[float] = []
    while not held or (held[-1] >= 0.1 and len(held) < 3):  # the layer was made before the clock starts
        heartbeat = Heartbeat()
        for name in ("disks", "fill"):
            dock.use_model(name)
            shown.settle()
            shown.qtbot.wait(20)
        held.append(heartbeat.stop())
    assert min(held) < 0.1, held


def test_the_current_object_is_drawn_once_for_an_answer(boxes: Bench) -> None:
    boxes.viewer.add_image(DARK)
    dock = boxes.open()
    boxes.click((60, 60))
    filled: list[Any] = []
    boxes.editor.layers.current.events.data.connect(filled.append)
    dock.use_model("disks")
    boxes.settle()
    assert len(filled) == 1
