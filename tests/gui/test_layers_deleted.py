"""Layers that the user deleted while they show something come back with it, and ours go all at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_iseg.prompts import Box

from .conftest import Bench
from .test_boxes import BoxLoader, drag

IMAGE = np.random.default_rng(0).integers(0, 255, (128, 128), dtype=np.uint8)
CORNERS = [[19.5, 29.5], [19.5, 99.5], [59.5, 99.5], [59.5, 29.5]]


@pytest.fixture
def boxed(bench: Bench) -> Bench:
    """A bench with an image on which a box is drawn and answered."""
    bench.loader = BoxLoader()
    bench.viewer.add_image(IMAGE, name="cells")
    bench.open()
    bench.do("box")
    drag(bench, (19.5, 29.5), (59.5, 99.5))
    return bench


def shown_box(bench: Bench) -> Any:
    assert bench.editor.layers.boxes.layer in bench.viewer.layers
    (shape,) = bench.editor.layers.boxes.layer.data
    return shape


def test_a_deleted_layer_of_boxes_comes_back_with_the_box(boxed: Bench) -> None:
    boxed.viewer.layers.remove(boxed.editor.layers.boxes.layer)
    boxed.rest()
    np.testing.assert_allclose(shown_box(boxed), CORNERS)
    assert boxed.editor.box == ((), Box(20, 30, 60, 100))
    boxed.editor.layers.boxes.layer.selected_data = {0}
    boxed.editor.layers.boxes.layer.remove_selected()  # is heard as ever
    boxed.rest()
    assert boxed.editor.box is None


def test_the_box_is_there_again_when_its_image_is(boxed: Bench) -> None:
    cells = boxed.editor.layers.image
    other = boxed.viewer.add_image(IMAGE)
    for image in (other, cells):
        boxed.dock.controller.choose_image(image)
        boxed.rest()
    np.testing.assert_allclose(shown_box(boxed), CORNERS)


def test_a_deleted_layer_of_the_current_object_comes_back_with_it(boxed: Bench) -> None:
    layers = boxed.editor.layers
    gone = layers.current
    boxed.viewer.layers.remove(gone)
    boxed.rest()
    assert layers.current is not gone
    assert layers.current in boxed.viewer.layers
    assert layers.current.data[40, 60]
    assert boxed.viewer.layers.index(layers.current) < boxed.viewer.layers.index(layers.boxes.layer)
    boxed.viewer.layers.selection = {layers.image, layers.current}
    boxed.viewer.layers.remove_selected()
    boxed.rest()
    assert [*boxed.viewer.layers] == []


def test_the_layers_go_all_at_once_when_another_image_is_chosen(boxed: Bench) -> None:
    """napari collects garbage, half a second, after each layer that is removed alone."""
    cells = boxed.editor.layers.image
    other, collected = boxed.viewer.add_image(IMAGE), []
    boxed.viewer.layers.events.end_batch.connect(lambda _event: collected.append(len(boxed.viewer.layers)))
    boxed.dock.controller.choose_image(other)
    assert collected == [2]
    boxed.dock.controller.choose_image(None)
    assert collected == [2, 2]
    boxed.dock.controller.choose_image(cells)
    assert collected == [2, 2], "nothing was there to remove"


def test_layers_of_ours_that_come_and_go_leave_the_selection_as_it_is(boxed: Bench) -> None:
    cells, other = boxed.editor.layers.image, boxed.viewer.add_image(IMAGE)
    boxed.viewer.layers.selection = {cells, other}
    boxed.do("probability")
    assert boxed.editor.layers.probability in boxed.viewer.layers
    assert boxed.viewer.layers.selection == {cells, other}
    boxed.dock.controller.choose_image(None)
    assert boxed.viewer.layers.selection == {cells, other}
    assert boxed.viewer.layers.selection.active is None
