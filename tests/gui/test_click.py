"""Clicking: the object appears where it is, is corrected, committed, reopened and deleted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.settings import get_settings
from napari.utils.interactions import mouse_press_callbacks, mouse_release_callbacks
from napari.utils.key_bindings import KeymapHandler

from napari_iseg.labels.checks import HIGHEST

from .napari_versions import read_only_mouse_event

IMAGE = np.random.default_rng(0).integers(0, 255, (128, 128), dtype=np.uint8)


def centre_of(mask: np.ndarray) -> np.ndarray:
    return np.argwhere(mask).mean(0)


def committed(editor: Any) -> np.ndarray:
    return editor.session.labels.read(editor.session.plane)


def press_and_release(
    layer: Any, position: Any, button: int = 1, modifiers: Any = (), moved: float = 0.0
) -> None:
    kinds = {"position": position, "button": button, "modifiers": list(modifiers)}
    mouse_press_callbacks(
        layer, read_only_mouse_event(type="mouse_press", pos=np.array([50.0, 50.0]), **kinds)
    )
    released = np.array([50.0 + moved, 50.0])
    mouse_release_callbacks(layer, read_only_mouse_event(type="mouse_release", pos=released, **kinds))


def test_a_click_is_answered_beside_the_image(bench):
    image = bench.viewer.add_image(IMAGE)
    bench.open()
    bench.click((40, 70))
    names = [layer.name for layer in bench.viewer.layers]
    assert names == [image.name, f"{image.name} current object", f"{image.name} clicks"]
    np.testing.assert_allclose(centre_of(bench.editor.session.mask), (40, 70), atol=1)
    np.testing.assert_array_equal(bench.editor.layers.current.data, bench.editor.session.mask)
    assert bench.editor.layers.points.data.tolist() == [[40, 70]]
    assert "Answered in" in bench.dock.status.text()


def test_an_image_opened_after_the_dock_takes_clicks_at_once(bench):
    bench.open()
    image = bench.viewer.add_image(IMAGE)
    assert bench.viewer.layers.selection.active is image  # napari's doing: a click would only pan
    bench.qtbot.waitUntil(lambda: bench.viewer.layers.selection.active is bench.editor.layers.points)
    press_and_release(bench.viewer.layers.selection.active, (60.0, 60.0))
    bench.settle()
    assert bench.editor.session.mask[60, 60]


def test_mouse_buttons_and_modifier_give_the_sign(bench):
    bench.viewer.add_image(IMAGE)
    bench.open()
    points = bench.editor.layers.points
    for button, modifiers in ((1, ()), (1, ["Control"]), (2, ()), (1, ["Alt"]), (3, ())):
        press_and_release(points, (60.0, 60.0), button, modifiers)
        bench.settle()
    assert [click.positive for click in bench.editor.session.clicks] == [True, False, False]
    assert [str(symbol) for symbol in points.symbol] == ["disc", "hbar", "hbar"]
    assert not np.allclose(points.face_color[0], points.face_color[1])


def test_a_drag_is_no_click_and_a_tremble_is(bench):
    bench.viewer.add_image(IMAGE)
    bench.open()
    press_and_release(bench.editor.layers.points, (60.0, 60.0), moved=20)
    assert bench.editor.clicks == []
    press_and_release(bench.editor.layers.points, (60.0, 60.0), moved=3)
    bench.settle()
    assert len(bench.editor.session.clicks) == 1


def test_the_sign_switch_turns_plain_clicks_and_back(bench):
    bench.viewer.add_image(IMAGE)
    dock = bench.open()
    bench.click((60, 60))
    bench.do("toggle_sign")
    assert dock.actions.background.isChecked()
    bench.click((60, 80))
    bench.click((60, 40), positive=False)  # the modifier is the opposite of the switch
    assert [click.positive for click in bench.editor.session.clicks] == [True, False, True]
    dock.actions.foreground.click()
    assert dock.controller.positive


def test_undo_redo_and_reset_follow_exactly(bench):
    bench.viewer.add_image(IMAGE)
    bench.open()
    bench.click((60, 60))
    one = bench.editor.layers.current.data.copy()
    bench.click((60, 75), positive=False)
    two = bench.editor.layers.current.data.copy()
    assert two.sum() < one.sum()
    bench.do("undo")
    np.testing.assert_array_equal(bench.editor.layers.current.data, one)
    bench.do("redo")
    np.testing.assert_array_equal(bench.editor.layers.current.data, two)
    bench.do("reset")
    assert not bench.editor.layers.current.data.any()
    assert len(bench.editor.layers.points.data) == 0
    bench.do("undo")
    np.testing.assert_array_equal(bench.editor.layers.current.data, two)


def test_the_current_object_takes_no_brush_which_a_commit_would_not_know_of(bench):
    bench.viewer.add_image(IMAGE)
    bench.open()
    for name in ("", "undo", "redo"):
        bench.do(name) if name else bench.click((60, 60))
        layer = bench.editor.layers.current
        layer.mode = "paint"
        assert (layer.editable, str(layer.mode)) == (False, "pan_zoom"), name


def test_commit_reopen_and_delete(bench):
    bench.viewer.add_image(IMAGE)
    dock = bench.open()
    bench.click((40, 40))
    first = bench.editor.session.mask
    bench.do("commit")
    assert dock.label.value() == 2
    bench.click((90, 90))
    bench.do("commit")
    np.testing.assert_array_equal(committed(bench.editor) == 1, first)
    layer = bench.editor.layers.committed
    assert not layer.editable
    np.testing.assert_array_equal(np.asarray(layer.data), committed(bench.editor))

    bench.do("pick")
    assert "reopen" in dock.status.text()
    bench.click((40, 40))
    assert [(click.row, click.col) for click in bench.editor.session.clicks] == [(40, 40)]
    assert dock.label.value() == 1
    assert not (committed(bench.editor) == 1).any()
    bench.click((40, 50))
    bench.do("commit")
    assert (committed(bench.editor) == 1).sum() > first.sum()

    bench.do("delete")
    bench.click((90, 90))
    assert set(np.unique(committed(bench.editor))) == {0, 1}
    bench.do("undo")
    assert set(np.unique(committed(bench.editor))) == {0, 1, 2}


def test_a_commit_waits_for_the_answer_and_later_clicks_for_the_commit(bench):
    bench.viewer.add_image(IMAGE)
    dock = bench.open()
    bench.loader.net.seconds = 0.1
    dock.controller.click_world((40.0, 40.0), True)
    dock.controller.perform("commit")
    dock.controller.click_world((90.0, 90.0), True)
    bench.settle()
    assert committed(bench.editor)[40, 40] == 1
    assert [(c.row, c.col) for c in bench.editor.session.clicks] == [(90, 90)]


def test_a_pick_made_during_a_commit_takes_that_object_up_again(bench):
    bench.viewer.add_image(IMAGE)
    dock = bench.open()
    bench.click((40, 40))
    bench.do("commit")
    bench.click((90, 90))
    dock.controller.perform("commit")
    assert bench.editor.busy_with_task
    dock.controller.perform("pick")
    dock.controller.click_world((90.0, 90.0), True)
    bench.settle()
    assert [(c.row, c.col) for c in bench.editor.session.clicks] == [(90, 90)]
    assert list(bench.editor.session.objects) == [1]


@pytest.mark.parametrize("name", ["commit", "pick", "delete"])
def test_what_asks_for_a_click_gets_it_whatever_tool_of_napari_was_chosen(bench, name):
    bench.viewer.add_image(IMAGE)
    bench.open()
    bench.click((40, 40))
    bench.do("commit")
    if name == "commit":
        bench.click((90, 90))
    points = bench.editor.layers.points
    points.mode = "select"
    bench.viewer.layers.selection.active = bench.editor.layers.current
    bench.do(name)
    assert bench.viewer.layers.selection.active is points
    before = bench.editor.session.clicks, bench.editor.session.objects
    press_and_release(points, (90.0, 90.0) if name == "commit" else (40.0, 40.0))
    bench.settle()
    assert (bench.editor.session.clicks, bench.editor.session.objects) != before


def test_the_label_can_be_chosen(bench):
    bench.viewer.add_image(IMAGE)
    dock = bench.open()
    bench.click((40, 40))
    dock.label.setValue(7)
    bench.settle()
    bench.do("commit")
    assert committed(bench.editor)[40, 40] == 7
    bench.click((90, 90))
    dock.label.setValue(7)
    bench.settle()
    bench.do("next_label")
    assert dock.label.value() == 8
    bench.do("commit")
    assert committed(bench.editor)[90, 90] == 8


def test_the_highest_labels_can_be_chosen_and_shown(bench):
    bench.viewer.add_image(IMAGE)
    dock = bench.open()
    assert dock.label.maximum() == HIGHEST
    bench.click((40, 40))
    dock.label.setValue(2**31 - 1)
    bench.settle()
    bench.do("commit")
    assert committed(bench.editor)[40, 40] == 2**31 - 1
    assert dock.label.value() == 2**31
    bench.click((90, 90))
    assert bench.editor.session.object_id == 2**31


def test_a_typed_label_counts_once_it_is_whole(bench):
    bench.viewer.add_image(IMAGE)
    dock = bench.open()
    bench.click((40, 40))
    chosen = []
    dock.label.chosen.connect(chosen.append)
    dock.label.selectAll()
    bench.qtbot.keyClicks(dock.label, "12")
    bench.click((45, 40))  # an answer that comes meanwhile leaves the text as it is
    bench.qtbot.keyClicks(dock.label, "3")
    assert (chosen, dock.label.text()) == ([], "123")
    dock.actions.buttons["commit"].click()
    bench.settle()
    assert chosen == [123]
    assert committed(bench.editor)[40, 40] == 123
    bench.do("undo")
    bench.do("undo")
    assert bench.editor.session.object_id == 1, "the choice of a label is one step"


def test_points_moved_and_removed_with_naparis_tools_are_replayed(bench):
    bench.viewer.add_image(IMAGE)
    bench.open()
    bench.click((60, 60))
    bench.click((60, 75), positive=False)
    points = bench.editor.layers.points
    points.selected_data = {1}
    points.remove_selected()
    bench.rest()
    assert len(bench.editor.session.clicks) == 1
    moved = points.data.copy()
    moved[0] = (30, 90)
    points.data = moved
    bench.settle()
    np.testing.assert_allclose(centre_of(bench.editor.session.mask), (30, 90), atol=1)
    bench.do("undo")
    assert points.data.tolist() == [[60, 60]]
    points.add((80, 20))
    bench.settle()
    assert [(c.row, c.col) for c in bench.editor.session.clicks] == [(60, 60), (80, 20)]


def test_a_point_dragged_outside_comes_back(bench):
    bench.viewer.add_image(IMAGE)
    bench.open()
    bench.click((60, 60))
    points = bench.editor.layers.points
    points.data = np.array([[-30.0, 60.0]])
    bench.settle()
    assert points.data.tolist() == [[60, 60]]


@pytest.mark.parametrize("point", [(-2.0, 5.0), (5.0, 128.0), (500.0, 500.0)])
def test_a_click_outside_only_gives_a_hint(bench, point):
    bench.viewer.add_image(IMAGE)
    dock = bench.open()
    bench.click(point)
    assert bench.editor.clicks == []
    assert "outside" in dock.status.text()


def test_probability_on_demand(bench):
    bench.viewer.add_image(IMAGE)
    bench.open()
    bench.click((60, 60))
    bench.do("probability")
    layer = bench.editor.layers.probability
    np.testing.assert_array_equal(layer.data, bench.editor.session.patch.probability)
    assert bench.viewer.layers.selection.active is bench.editor.layers.points
    bench.do("probability")
    assert not layer.visible
    bench.click((70, 70))
    assert not layer.visible
    bench.do("probability")
    assert layer.visible
    np.testing.assert_array_equal(layer.data, bench.editor.session.patch.probability)
    layer.visible = False  # with napari's own eye: it stays so
    bench.click((65, 60))
    assert not layer.visible
    bench.viewer.layers.remove(bench.editor.layers.image)
    bench.rest()
    assert layer not in bench.viewer.layers


def test_threshold_changes_the_mask_without_asking_the_model(bench):
    bench.viewer.add_image(IMAGE)
    dock = bench.open()
    bench.click((60, 60))
    before, calls = bench.editor.layers.current.data.sum(), bench.loader.loads
    dock.options.threshold.setValue(0.95)
    bench.qtbot.waitUntil(lambda: dock.controller.choice.options.threshold == 0.95)
    bench.settle()
    assert bench.editor.session.threshold == 0.95
    assert bench.editor.layers.current.data.sum() < before
    assert bench.loader.loads == calls


def test_refinement_and_flip_reach_the_model(bench):
    bench.viewer.add_image(IMAGE)
    dock = bench.open()
    bench.click((60, 60))
    dock.options.steps.setValue(3)
    dock.options.flip.setChecked(True)
    dock.options.adaptive.setChecked(True)
    bench.qtbot.waitUntil(lambda: dock.controller.choice.options.flip)
    bench.settle()
    inference = bench.editor.session.model.inference
    assert (inference.refine_steps, inference.flip, inference.refine_adaptive) == (3, True, True)
    assert bench.editor.session.patch is not None


def test_keys_are_bound_on_our_layers_only(bench):
    image = bench.viewer.add_image(IMAGE)
    dock = bench.open()
    bench.click((60, 60))
    points, current = bench.editor.layers.points, bench.editor.layers.current

    def press(layer: Any, key: str) -> None:
        from app_model.types import KeyBinding

        layer.keymap[KeyBinding.from_str(key.replace("Control", "Ctrl").replace("-", "+"))](layer)
        bench.settle()

    press(points, "Control-Z")
    assert bench.editor.session.clicks == ()
    press(points, "Control-Shift-Z")
    press(current, "X")
    assert not dock.controller.positive
    press(points, "Enter")
    assert committed(bench.editor).any()
    bench.viewer.cursor.position = (60, 60)  # where the mouse happens to be means nothing yet
    press(bench.editor.layers.committed, "O")
    assert bench.editor.session.clicks == ()
    assert "press Esc" in dock.status.text()
    press(points, "X")
    press(points, "X")
    assert dock.status.text() == "Click on an object."
    press(points, "O")
    press(points, "Escape")
    assert dock.status.text() == "Click on an object."
    press(points, "O")
    bench.click((60, 60))
    assert len(bench.editor.session.clicks) == 1
    assert not image.keymap
    assert not bench.viewer.keymap


def test_a_tool_that_was_left_by_z_does_not_come_back_at_the_next_undo(bench):
    bench.viewer.add_image(IMAGE)
    bench.open()
    points = bench.editor.layers.points
    keys = KeymapHandler()
    keys.keymap_providers = [points]
    points.mode = "select"
    keys.press_key("Z")
    keys.release_key("Z")
    assert str(points.mode) == "pan_zoom"
    bench.qtbot.wait(int(1000 * get_settings().application.hold_button_delay) + 50)
    bench.click((60, 60))
    keys.press_key("Ctrl+Z")
    keys.release_key("Ctrl+Z")
    bench.settle()
    assert bench.editor.session.clicks == ()
    assert str(points.mode) == "pan_zoom"


def test_pasting_clicks_is_refused_as_napari_would_tell_nobody(bench):
    bench.viewer.add_image(IMAGE)
    dock = bench.open()
    bench.click((60, 60))
    points = bench.editor.layers.points
    keys = KeymapHandler()
    keys.keymap_providers = [points]
    points.mode = "select"
    points.selected_data = {0}
    keys.press_key("Ctrl+C")
    keys.press_key("Ctrl+V")
    assert len(points.data) == 1
    assert "cannot be pasted" in dock.status.text()
