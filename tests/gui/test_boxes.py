"""Boxes: drawn they are prompts, edited they are again; there only where the model takes them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from napari.utils.interactions import (
    mouse_move_callbacks,
    mouse_press_callbacks,
    mouse_release_callbacks,
)

from napari_iseg.backends.base import Inference
from napari_iseg.backends.model import Model
from napari_iseg.backends.prompt_net import PromptNet
from napari_iseg.prompts import Box
from napari_iseg.widgets.scene import OUTPUT

from .fakes import CARD, FakeLoader, LocalCard
from .napari_versions import read_only_mouse_event
from .test_click import press_and_release

IMAGE = np.random.default_rng(0).integers(0, 255, (128, 128), dtype=np.uint8)


class FillNet(PromptNet):
    """Object: the box, without squares around background clicks, with squares around foreground clicks."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.side = self.low = 128

    def encode(self, picture: torch.Tensor) -> torch.Tensor:
        return picture

    def decode(self, embedding, points, labels, boxes=None, memory=None, *, several=False):
        rows, cols = torch.meshgrid(torch.arange(128), torch.arange(128), indexing="ij")
        inside = torch.zeros(128, 128, dtype=torch.bool)
        if boxes is not None:
            x0, y0, x1, y1 = boxes[0]
            inside = (cols >= x0) & (cols < x1) & (rows >= y0) & (rows < y1)
        for (x, y), sign in zip(points[0], labels[0], strict=True):
            near = (cols - x).abs().maximum((rows - y).abs()) <= 3
            inside = inside | near if sign > 0 else inside & ~near
        return torch.where(inside, 5.0, -5.0)[None, None], torch.ones(1, 1)


class BoxLoader(FakeLoader):
    """A model that takes boxes, and the one that does not."""

    def cards(self) -> list[Any]:
        plain = {name: getattr(CARD, name) for name in CARD.__dataclass_fields__}
        boxes = plain | {"name": "fill", "title": "Fill", "prompts": ("click", "box")}
        return [LocalCard(**boxes), LocalCard(**plain)]

    def load(self, key: Any) -> Model:
        if key.name != "fill":
            return super().load(key)
        inference = Inference(threshold=0.5, flip=False, size=(128, 128), window="whole")
        card = replace(CARD, name="fill", prompts=("click", "box"))
        return Model(card, FillNet(), device="cpu", precision="float32", inference=inference)


@pytest.fixture
def boxes(bench: Any) -> Any:
    bench.loader = BoxLoader()
    return bench


def drag(bench: Any, start: Any, end: Any) -> None:
    """Draw or drag with the mouse in the layer of boxes, in world positions."""
    layer = bench.editor.layers.boxes.layer
    kinds: dict[str, Any] = {"button": 1, "modifiers": [], "view_direction": None, "dims_displayed": [0, 1]}
    mouse_press_callbacks(
        layer, read_only_mouse_event(type="mouse_press", position=start, pos=np.array(start[-2:]), **kinds)
    )
    mouse_move_callbacks(
        layer,
        read_only_mouse_event(
            type="mouse_move", position=end, pos=np.array(end[-2:]), is_dragging=True, **kinds
        ),
    )
    mouse_release_callbacks(
        layer, read_only_mouse_event(type="mouse_release", position=end, pos=np.array(end[-2:]), **kinds)
    )
    bench.qtbot.wait(30)
    bench.settle()


def mask_box(mask: np.ndarray) -> tuple[int, ...]:
    rows, cols = np.nonzero(mask)
    return int(rows.min()), int(cols.min()), int(rows.max()) + 1, int(cols.max()) + 1


def test_a_drawn_box_is_answered_and_clicks_correct_it(boxes: Any) -> None:
    boxes.viewer.add_image(IMAGE)
    dock = boxes.open()
    assert dock.actions.buttons["box"].isVisibleTo(dock)
    boxes.do("box")
    layers = boxes.editor.layers
    assert boxes.viewer.layers.selection.active is layers.boxes.layer
    assert OUTPUT in layers.boxes.layer.metadata
    drag(boxes, (19.5, 29.5), (59.5, 99.5))
    assert boxes.editor.session.current_box == Box(20, 30, 60, 100)
    assert mask_box(boxes.editor.session.mask) == (20, 30, 60, 100)
    assert boxes.viewer.layers.selection.active is layers.points  # the next click corrects
    order = [
        boxes.viewer.layers.index(layer) for layer in (layers.current, layers.boxes.layer, layers.points)
    ]
    assert order == sorted(order)
    boxes.click((40, 40), positive=False)
    assert not boxes.editor.session.mask[40, 40]
    assert layers.boxes.layer.nshapes == 1
    assert "Answered in" in dock.status.text()


def test_an_edited_box_is_answered_again_and_undo_brings_the_first_back(boxes: Any) -> None:
    boxes.viewer.add_image(IMAGE)
    boxes.open()
    boxes.do("box")
    drag(boxes, (19.5, 29.5), (59.5, 99.5))
    layer = boxes.editor.layers.boxes.layer
    layer.mode = "select"
    layer.selected_data = {0}
    drag(boxes, (40.0, 60.0), (50.0, 60.0))
    assert boxes.editor.session.current_box == Box(30, 30, 70, 100)
    assert mask_box(boxes.editor.session.mask) == (30, 30, 70, 100)
    boxes.do("undo")
    assert boxes.editor.session.current_box == Box(20, 30, 60, 100)
    np.testing.assert_allclose(layer.data[0].min(0), (19.5, 29.5))
    boxes.do("undo")
    assert layer.nshapes == 0
    assert not boxes.editor.layers.current.data.any()
    boxes.do("redo")
    assert layer.nshapes == 1


def test_a_second_box_replaces_the_first_and_a_deleted_one_is_gone(boxes: Any) -> None:
    boxes.viewer.add_image(IMAGE)
    boxes.open()
    for corner in (10.5, 30.5):
        boxes.do("box")
        drag(boxes, (corner, 20.5), (80.5, 90.5))
    layer = boxes.editor.layers.boxes.layer
    assert layer.nshapes == 1
    assert boxes.editor.session.current_box == Box(31, 21, 81, 91)
    layer.selected_data = {0}
    layer.remove_selected()
    boxes.qtbot.wait(30)
    boxes.settle()
    assert boxes.editor.session.current_box is None
    assert not boxes.editor.session.mask.any()


def test_a_box_can_be_committed_and_the_next_object_starts_without_one(boxes: Any) -> None:
    boxes.viewer.add_image(IMAGE)
    boxes.open()
    boxes.do("box")
    drag(boxes, (19.5, 29.5), (59.5, 99.5))
    boxes.do("commit")
    assert mask_box(boxes.editor.session.labels.read(()) == 1) == (20, 30, 60, 100)
    assert boxes.editor.layers.boxes.layer.nshapes == 0


def test_boxes_without_area_or_outside_are_a_sentence_and_no_box(boxes: Any) -> None:
    boxes.viewer.add_image(IMAGE)
    dock = boxes.open()
    line = np.array([[20.0, 20.0], [20.0, 40.0], [20.0, 40.0], [20.0, 20.0]])
    boxes.editor.layers.boxes.layer.add(line, shape_type="rectangle")
    boxes.qtbot.wait(30)
    assert "no area" in dock.status.text()
    boxes.do("box")
    drag(boxes, (200.0, 200.0), (250.0, 240.0))
    assert "outside the image" in dock.status.text()
    assert boxes.editor.layers.boxes.layer.nshapes == 0
    assert boxes.editor.session is None or not boxes.editor.session.can_undo


@pytest.mark.parametrize("end", [(40.0, 60.0), (40.9, 99.5)])
def test_a_click_where_a_box_was_to_be_drawn_leaves_all_as_it_was_and_drawing_goes_on(
    boxes: Any, end: Any
) -> None:
    boxes.viewer.add_image(IMAGE)
    dock = boxes.open()
    boxes.do("box")
    drag(boxes, (19.5, 29.5), (59.5, 99.5))
    boxes.do("box")
    if end == (40.0, 60.0):
        press_and_release(boxes.editor.layers.boxes.layer, end)
        boxes.qtbot.wait(30)
    else:
        drag(boxes, (40.0, 60.0), end)
    assert "no area" in dock.status.text()
    assert boxes.editor.session.current_box == Box(20, 30, 60, 100)
    assert boxes.editor.layers.boxes.layer.nshapes == 1
    assert boxes.editor.layers.drawing
    drag(boxes, (9.5, 29.5), (59.5, 99.5))
    assert boxes.editor.session.current_box == Box(10, 30, 60, 100)


def test_escape_ends_drawing_before_it_removes_clicks(boxes: Any) -> None:
    boxes.viewer.add_image(IMAGE)
    dock = boxes.open()
    boxes.click((60, 60))
    boxes.do("box")
    assert "press Esc" in dock.status.text()
    boxes.do("reset")
    assert len(boxes.editor.session.clicks) == 1
    assert not boxes.editor.layers.drawing
    assert boxes.viewer.layers.selection.active is boxes.editor.layers.points
    assert "Drag a box" not in dock.status.text()
    boxes.do("reset")
    assert boxes.editor.session.clicks == ()


def test_a_long_box_that_is_thin_on_the_screen_is_a_box(boxes: Any) -> None:
    boxes.viewer.add_image(IMAGE)
    boxes.open()
    boxes.do("box")
    boxes.editor.layers.boxes.layer.scale_factor = 5.0  # zoomed out: 20 pixels are 4 on the screen
    drag(boxes, (19.5, 9.5), (39.5, 109.5))
    box = boxes.editor.session.current_box
    assert (box.row0, box.col0, box.col1) == (
        20,
        10,
        110,
    )  # so thin a one napari draws with a height of its own


def test_a_box_on_a_plane_of_a_scaled_stack_belongs_to_that_plane(boxes: Any) -> None:
    image = boxes.viewer.add_image(np.stack([IMAGE] * 3), scale=(4, 0.5, 2), translate=(1, 2, 3))
    boxes.open()
    boxes.viewer.dims.set_point(0, 1 + 4 * 2)
    boxes.do("box")
    drag(boxes, image.data_to_world((2, 19.5, 29.5)), image.data_to_world((2, 59.5, 99.5)))
    assert boxes.editor.session.plane == (2,)
    assert boxes.editor.session.current_box == Box(20, 30, 60, 100)
    boxes.viewer.dims.set_point(0, 1)
    boxes.settle()
    assert boxes.editor.layers.boxes.layer.nshapes == 0  # it is the other plane's


def test_only_models_that_take_boxes_offer_them(boxes: Any) -> None:
    boxes.viewer.add_image(IMAGE)
    dock = boxes.open()
    boxes.do("box")
    drag(boxes, (19.5, 29.5), (59.5, 99.5))
    dock.use_model("disks")
    boxes.settle()
    assert "does not take boxes: remove the box (Esc" in dock.status.text()
    boxes.click((40, 40))  # is not answered
    assert "remove the box (Esc" in dock.status.text()
    boxes.do("undo")
    dock.use_model("fill")
    boxes.settle()
    assert "Answered in" in dock.status.text()
    dock.use_model("disks")
    boxes.settle()
    assert not dock.actions.buttons["box"].isVisibleTo(dock)
    assert boxes.editor.layers.boxes.layer is not None  # so that the box can be deleted
    boxes.do("reset")
    assert boxes.editor.layers.boxes.layer is None
    boxes.do("box")
    assert "takes no boxes" in dock.status.text()
    dock.use_model("fill")
    boxes.settle()
    assert boxes.editor.layers.boxes.layer in boxes.viewer.layers


def test_what_the_user_asked_for_is_said_also_while_a_box_has_no_answer(boxes: Any) -> None:
    boxes.viewer.add_image(IMAGE)
    dock = boxes.open()
    boxes.click((60, 60))
    boxes.do("commit")
    boxes.do("box")
    drag(boxes, (19.5, 29.5), (59.5, 99.5))
    dock.use_model("disks")
    boxes.settle()
    assert "remove the box (Esc" in dock.status.text()
    boxes.do("pick")
    assert "Click on the object to reopen" in dock.status.text()
    boxes.do("reset")
    assert "remove the box (Esc" in dock.status.text()
    dock.controller.say("Saved here.")
    assert dock.status.text() == "Saved here."


def test_embeddings_are_kept_on_disk_where_the_user_wants_it(tmp_path: Any, monkeypatch: Any) -> None:
    from napari_iseg.disk_cache import DiskCache
    from napari_iseg.widgets.model_loader import ModelKey, ModelLoader
    from napari_iseg.widgets.preferences import Preferences

    model = BoxLoader().load(ModelKey("fill"))
    monkeypatch.setattr("napari_iseg.weights.store.load_click_model", lambda *_, **__: model)
    loader = ModelLoader(tmp_path)
    assert loader.load(ModelKey("fill")).embeddings.disk is None
    loader = ModelLoader(tmp_path)
    loader.embedding_bytes = Preferences(keep_embeddings=True, embeddings_gb=0.5).embedding_bytes
    assert loader.load(ModelKey("fill")).embeddings.disk == DiskCache(tmp_path / "embeddings", 5 * 10**8)
    assert Preferences(embeddings_gb=0.5).embedding_bytes == 0


def test_the_layer_goes_with_the_dock(boxes: Any) -> None:
    boxes.viewer.add_image(IMAGE)
    dock = boxes.open()
    boxes.do("box")
    drag(boxes, (19.5, 29.5), (59.5, 99.5))
    boxes.do("commit")
    dock.shut_down()
    assert [type(layer).__name__ for layer in boxes.viewer.layers] == ["Image", "Labels"]


def test_all_layers_can_be_removed_at_once_with_that_of_boxes(boxes: Any) -> None:
    boxes.viewer.add_image(np.zeros((128, 128), np.uint8))
    dock = boxes.open()
    boxes.click((60, 60))
    assert boxes.editor.layers.boxes.layer in boxes.viewer.layers
    boxes.viewer.layers.select_all()
    boxes.viewer.layers.remove_selected()
    boxes.rest()
    assert [*boxes.viewer.layers] == []
    assert "Open an image" in dock.status.text()
