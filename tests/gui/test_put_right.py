"""What goes wrong by a hasty hand, a grid, a rename or a missing device is said, and is put right again."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.utils.interactions import mouse_double_click_callbacks
from napari.utils.notifications import notification_manager

from .conftest import Bench
from .napari_versions import camera_of, grid_of, read_only_mouse_event

IMAGE = np.random.default_rng(0).integers(0, 255, (128, 128), dtype=np.uint8)


def test_a_grid_is_refused_with_a_hint_also_while_an_answer_comes(bench: Bench) -> None:
    bench.viewer.add_image(IMAGE)
    dock = bench.open()
    bench.loader.net.seconds = 0.1
    dock.controller.click_world((60, 60), True)
    grid_of(bench.viewer).enabled = True
    assert "switch the grid off" in dock.status.text()
    assert bench.editor is None
    assert len(bench.viewer.layers) == 1
    bench.settle()
    dock.controller.click_world((60, 60), True)
    assert "switch the grid off" in notification_manager.records[-1].message
    grid_of(bench.viewer).enabled = False
    bench.settle()
    assert bench.editor.layers.current.data[60, 60]
    assert [(click.row, click.col) for click in bench.editor.session.clicks] == [(60, 60)]
    dock.shut_down()
    grid_of(bench.viewer).enabled = True  # nobody hears it


def test_an_error_about_a_click_is_gone_once_the_click_was_put_right(bench: Bench) -> None:
    bench.viewer.add_image(IMAGE)
    dock = bench.open()
    bench.click((60, 60))
    points = bench.editor.layers.points
    for place, wrong in (((-20.0, 60.0), True), ((80.0, 90.0), False)):
        points.data = np.array([place])  # dragged
        bench.settle()
        assert ("outside" in dock.status.text()) == wrong
    points.data = np.array([(-20.0, 60.0)])
    bench.settle()
    points.selected_data = {0}
    points.remove_selected()
    bench.rest()
    assert dock.status.text() == "Click on an object."


def double_click(bench: Bench, modifiers: Any = ()) -> float:
    """What it does to the zoom."""
    before = camera_of(bench.viewer).zoom
    kinds = {"position": (60.0, 60.0), "pos": np.array([50.0, 50.0]), "modifiers": list(modifiers)}
    event = read_only_mouse_event(type="mouse_double_click", button=1, **kinds)
    for obj in (bench.viewer, bench.viewer.layers.selection.active):
        mouse_double_click_callbacks(obj, event)
    return camera_of(bench.viewer).zoom / before


def test_a_double_click_on_an_object_does_not_zoom(bench: Bench, tmp_path: Any) -> None:
    image = bench.viewer.add_image(IMAGE)
    before = list(bench.viewer.mouse_double_click_callbacks)
    dock = bench.open()
    assert double_click(bench) == 1
    assert double_click(bench, ["Alt"]) == 0.5  # is no click of ours
    bench.viewer.layers.selection.active = image
    assert double_click(bench) == 2
    other = Bench(bench.viewer, bench.qtbot, tmp_path / "others")
    other.open()
    dock.shut_down()
    bench.viewer.layers.selection.active = other.editor.layers.points
    assert double_click(bench) == 1
    other.dock.shut_down()
    assert other.dock.controller.worker.join(10)
    assert bench.viewer.mouse_double_click_callbacks == before


def test_a_removed_layer_of_objects_is_missed_and_comes_back(bench: Bench) -> None:
    bench.viewer.add_image(IMAGE)
    dock = bench.open()
    bench.click((60, 60))
    bench.do("commit")
    for again in ("pick", "choose", "click"):
        bench.viewer.layers.remove(bench.editor.layers.committed)
        bench.rest()
        assert "layer of objects was removed" in dock.status.text()
        if again == "pick":
            bench.do("pick")
            bench.do("reset")
        elif again == "choose":
            dock.controller.choose_image(dock.controller.image)
        else:
            bench.click((20, 20))
        assert bench.editor.layers.committed in bench.viewer.layers
        assert np.asarray(bench.editor.layers.committed.data)[60, 60] == 1
        assert "removed" not in dock.status.text()


def test_our_layers_follow_the_name_of_their_image_unless_renamed(bench: Bench) -> None:
    image, other = bench.viewer.add_image(IMAGE, name="st"), bench.viewer.add_image(IMAGE, name="other")
    dock = bench.open()
    dock.controller.choose_image(image)
    bench.click((60, 60))
    bench.do("commit")
    bench.click((90, 90))
    bench.do("probability")
    layers = bench.editor.layers
    layers.committed.name = "my cells"
    image.name = "day 2"
    assert [layer.name for layer in layers.ours] == [
        "my cells",
        "day 2 probability",
        "day 2 current object",
        "day 2 clicks",
    ]
    layers.committed.name = "day 2 objects"
    dock.controller.choose_image(other)
    image.name = "day 3"  # also while another one is worked on
    assert layers.committed.name == "day 3 objects"
    dock.shut_down()
    image.name = "day 4"
    assert layers.committed.name == "day 3 objects"


def test_the_first_click_is_answered_by_what_a_missing_device_falls_back_to(bench: Bench) -> None:
    bench.viewer.add_image(IMAGE)
    dock = bench.open()
    dock.controller.ready.load()  # ahead of the first click
    dock.use_model(None, "cuda")
    bench.click((60, 60))
    assert "no such GPU" in dock.status.text()
    assert dock.device.currentText() == "auto"
    assert bench.editor.layers.current.data[60, 60]
    assert [(click.row, click.col) for click in bench.editor.session.clicks] == [(60, 60)]
