"""Clicks for the few-shot dock: made as in the click dock, heard whatever is changed in them."""

from __future__ import annotations

import shutil
from typing import Any

import napari.settings
import numpy as np
import pytest
from app_model.types import KeyBinding
from napari.utils.interactions import mouse_press_callbacks, mouse_release_callbacks
from napari.utils.notifications import notification_manager

from napari_iseg.fewshot.kept_clicks import kept_clicks
from napari_iseg.fewshot.preparing import run_folder

from .conftest import NO_WINDOW
from .fewshot_bench import TRUTH, VOLUME, sparse
from .test_manifest import MANIFEST

if NO_WINDOW is None:
    from napari_iseg.widgets.fewshot_dock import FewShotDock
from .napari_versions import grid_of, read_only_mouse_event

PLACE = (4, 3, 3)


@pytest.fixture
def clicks(fewshot: Any) -> Any:
    """The dock's own layer of clicks, beside one labelled slice."""
    fewshot.open(labels=sparse(TRUTH, 0).astype(np.uint8), scale=(3, 1, 1))
    fewshot.dock.clicks.activated.emit(1)  # "new layer…"
    return fewshot.viewer.layers["stack corrections"]


def press(layer: Any, place: Any, **kinds: Any) -> None:
    world = layer.data_to_world(place)
    for kind, callbacks in (
        ("mouse_press", mouse_press_callbacks),
        ("mouse_release", mouse_release_callbacks),
    ):
        event = {"type": kind, "pos": np.array([50.0, 50.0]), "position": world, "button": 1, "modifiers": []}
        callbacks(layer, read_only_mouse_event(**event | kinds))


def given(fewshot: Any) -> list[tuple[int, int, bool]]:
    """(plane, label, sign) of what a run would be given."""
    controller = fewshot.dock.controller
    frame = controller.images.open(fewshot.image, fewshot.dock.settings.axis).frame
    found = controller.annotations.given_clicks(fewshot.viewer, fewshot.image, frame)
    return [(plane[0], label, click.positive) for plane, pairs in found.items() for label, click in pairs]


def test_left_is_the_object_right_is_background_with_the_label_that_is_set(fewshot, clicks):
    press(clicks, PLACE)
    press(clicks, (4, 9, 9), button=2)
    fewshot.dock.click_label.setValue(2)
    press(clicks, (3, 5, 5), modifiers=["Control"])
    press(clicks, (3, 6, 6))
    press(clicks, (3, 6, 900))  # beside the image
    assert given(fewshot) == [(4, 1, True), (4, 1, False), (3, 2, False), (3, 2, True)]
    assert [str(symbol) for symbol in clicks.symbol] == ["disc", "hbar", "hbar", "disc"]
    assert clicks.face_color[0].tolist() == clicks.face_color[3].tolist() != clicks.face_color[1].tolist()
    clicks.current_symbol = "star"
    assert [str(symbol) for symbol in clicks.symbol] == ["disc", "hbar", "hbar", "disc"], "of the next only"


def test_the_key_of_background_clicks_is_followed(fewshot, plugin_settings, npe2pm):
    npe2pm.register(MANIFEST)
    stored = napari.settings.get_plugin_settings("napari-iseg")
    stored.files.autosave_folder = str(fewshot.folder)
    fewshot.image = fewshot.viewer.add_image(VOLUME, name="stack")
    fewshot.dock = FewShotDock(fewshot.viewer, models={"grey": ""}, load=lambda *_: fewshot.fake)
    fewshot.viewer.window.add_dock_widget(fewshot.dock, name="Few-shot")
    fewshot.dock.clicks.activated.emit(1)
    layer = fewshot.viewer.layers["stack corrections"]
    press(layer, PLACE, modifiers=["Control"])
    stored.mouse.background_modifier = "Shift"
    press(layer, (3, 9, 9), modifiers=["Control"])  # napari's now
    press(layer, (2, 9, 9), modifiers=["Shift"])
    assert given(fewshot) == [(4, 1, False), (2, 1, False)]


def test_nothing_is_clicked_in_3d_or_a_grid_and_nothing_pasted_and_it_is_said(fewshot, clicks, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr("napari_iseg.widgets.fewshot_clicks.warn", said.append)
    fewshot.viewer.dims.ndisplay = 3
    press(clicks, PLACE)
    assert len(clicks.data) == 0
    assert "back to 2D" in said[-1]
    fewshot.viewer.dims.ndisplay = 2
    grid_of(fewshot.viewer).enabled = True  # a place in it means another layer in each tile
    press(clicks, PLACE)
    assert len(clicks.data) == 0
    assert "switch the grid off" in said[-1]
    clicks.keymap[KeyBinding.from_str("Ctrl+V")](clicks)
    assert "cannot be pasted" in notification_manager.records[-1].message


@pytest.mark.parametrize("change", ["symbol", "label"])
def test_another_sign_or_label_of_a_click_counts_at_once(fewshot, clicks, change):
    press(clicks, PLACE)
    fewshot.run()
    before = fewshot.dock.controller.report
    if change == "symbol":
        clicks.symbol = ["x"]
    else:
        clicks.features = {"label": [2]}
    fewshot.settle()
    assert fewshot.dock.controller.report is not before
    assert given(fewshot) == [(4, 1, False) if change == "symbol" else (4, 2, True)]


@pytest.mark.parametrize("label", [0, -1, np.nan, "a", 2.5, 2**32])
def test_a_label_that_is_none_is_refused(fewshot, clicks, label, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr("napari_iseg.widgets.reports.warn", said.append)
    press(clicks, PLACE)
    clicks.features = {"label": [label]}
    fewshot.run()
    assert "has a click whose label is" in said[-1]
    assert fewshot.dock.controller.results is None


def test_a_click_on_an_accepted_slice_takes_accept_back(fewshot, clicks):
    fewshot.run()
    fewshot.show(4)
    fewshot.dock.accept_button.click()
    fewshot.settle()
    assert fewshot.dock.controller.results.is_accepted((4,))
    press(clicks, PLACE)
    fewshot.settle()
    assert not fewshot.dock.controller.results.is_accepted((4,))
    assert fewshot.dock.supports.item(1).text().startswith("4 · clicked")


def test_a_click_on_a_labelled_slice_is_said_to_change_nothing(fewshot, clicks, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr("napari_iseg.widgets.fewshot_clicks.warn", said.append)
    press(clicks, PLACE)
    fewshot.run()
    assert said == []
    press(clicks, (0, 3, 3))
    fewshot.settle()
    assert said[-1].startswith("Clicks on 0 change nothing")


def test_a_click_counts_by_the_settings_that_are_shown(fewshot, clicks):
    fewshot.dock.region.setCurrentIndex(2)
    fewshot.dock.range.setValue((0, 1))
    fewshot.run()
    assert np.isfinite(fewshot.cells).tolist() == [True, True, False, False, False]
    fewshot.dock.region.setCurrentIndex(0)
    press(clicks, PLACE)
    fewshot.settle()
    assert np.isfinite(fewshot.cells).all()


def test_no_labels_are_none_also_when_a_layer_comes(fewshot, clicks):
    dock = fewshot.dock
    assert dock.labels.currentText() == "some"
    dock.labels.setCurrentIndex(0)
    dock.labels.activated.emit(0)
    fewshot.viewer.add_points([PLACE])
    assert dock.labels.currentText() == "none"
    assert dock.controller.annotations.labels is None


def begin(fewshot: Any) -> None:
    """A run that goes on for a while."""
    volume, truth = np.concatenate([VOLUME] * 4), np.concatenate([TRUTH] * 4)
    fewshot.fake.slow = 0.3
    fewshot.open(volume, sparse(truth, 0).astype(np.uint8))
    fewshot.dock.run_button.click()
    shown = lambda: bool(fewshot.fake.calls) and fewshot.dock.controller.results is not None  # noqa: E731
    fewshot.qtbot.waitUntil(shown, timeout=30_000)


def test_cancel_also_ends_what_waits(fewshot):
    begin(fewshot)
    fewshot.dock.run_button.click()  # anew, once this one has ended
    fewshot.dock.cancel_button.click()
    fewshot.settle()
    done = len(fewshot.fake.calls)
    assert done < 19
    fewshot.qtbot.wait(700)
    assert len(fewshot.fake.calls) == done


def test_a_paused_run_stays_paused_when_something_changes(fewshot):
    begin(fewshot)
    dock = fewshot.dock
    dock.pause_button.click()
    dock.clicks.activated.emit(1)
    first = dock.controller._control
    press(fewshot.viewer.layers["stack corrections"], PLACE)
    fewshot.qtbot.waitUntil(lambda: dock.controller._control not in (first, None), timeout=30_000)
    assert dock.pause_button.text() == "Go on"
    done = len(fewshot.fake.calls)
    fewshot.qtbot.wait(1000)
    assert len(fewshot.fake.calls) == done
    fewshot.fake.slow = 0
    dock.pause_button.click()
    fewshot.settle()
    assert np.isfinite(fewshot.cells).all()


def test_run_on_another_image_while_a_run_ends_is_done(fewshot):
    begin(fewshot)
    dock, controller = fewshot.dock, fewshot.dock.controller
    other = fewshot.viewer.add_image(VOLUME[:, ::-1], name="other")
    fewshot.viewer.add_labels(sparse(TRUTH[:, ::-1], 0).astype(np.uint8), name="its")
    dock.image.setCurrentText("other")
    dock.image.activated.emit(dock.image.currentIndex())
    dock.labels.setCurrentText("its")
    dock.labels.activated.emit(dock.labels.currentIndex())
    dock.run_button.click()
    fewshot.fake.slow = 0
    fewshot.settle()
    assert controller.image is other
    assert controller.results is not None
    np.testing.assert_array_equal(fewshot.result, TRUTH[:, ::-1])


def test_clicks_are_there_again_after_a_restart(fewshot, clicks):
    labels = fewshot.viewer.layers["some"].data
    press(clicks, PLACE)
    fewshot.dock.click_label.setValue(2)
    press(clicks, (4, 9, 9), button=2)
    fewshot.run()
    before, made = given(fewshot), fewshot.result.copy()
    fewshot.viewer.window.remove_dock_widget(fewshot.dock.parent())
    fewshot.viewer.layers.clear()
    fewshot.fake.calls.clear()
    dock = fewshot.open(labels=labels, scale=(3, 1, 1))
    fewshot.settle()
    assert "earlier result" in dock.status.text()
    assert dock.clicks.currentText() == "stack corrections"
    assert given(fewshot) == before == [(4, 1, True), (4, 2, False)]
    fewshot.run()
    assert fewshot.fake.calls == []
    np.testing.assert_array_equal(fewshot.result, made)


def test_a_renamed_image_keeps_its_result_and_has_its_new_name_in_the_list(fewshot, clicks):
    fewshot.run()
    fewshot.show(4)
    fewshot.dock.accept_button.click()
    fewshot.settle()
    results = fewshot.dock.controller.results
    fewshot.image.name = "other"
    assert fewshot.dock.image.currentText() == "other"
    assert fewshot.dock.clicks.currentText() == "stack corrections"
    fewshot.run()
    assert fewshot.dock.controller.results is results
    assert results.is_accepted((4,))


def test_a_result_without_its_record_is_made_anew(fewshot, clicks):
    fewshot.run()
    made = fewshot.result.copy()
    shutil.rmtree(run_folder(fewshot.dock.controller.results.output.path))
    fewshot.fake.calls.clear()
    fewshot.run()
    assert len(fewshot.fake.calls) == 4
    np.testing.assert_array_equal(fewshot.result, made)


def test_accept_stays_when_another_slice_is_clicked(fewshot, clicks):
    fewshot.run()
    press(clicks, PLACE)
    fewshot.settle()
    fewshot.show(3)
    fewshot.dock.accept_button.click()
    fewshot.settle()
    press(clicks, (2, 3, 3))
    fewshot.settle()
    assert fewshot.dock.controller.results.is_accepted((3,))


def test_accept_stays_when_another_axis_is_sliced(fewshot, clicks):
    controller = fewshot.dock.controller
    for axis in (1, 0):  # clicked while the image was to be sliced otherwise
        fewshot.dock.axis.setCurrentIndex(axis)
        fewshot.dock.axis.activated.emit(axis)
        if axis == 1:
            press(clicks, PLACE)
    fewshot.run()
    controller.results.decisions.accept((4,))
    press(clicks, (2, 9, 8))
    fewshot.settle()
    assert controller.results.is_accepted((4,))


def test_one_click_is_one_run(fewshot, clicks, monkeypatch):
    fewshot.run()
    runs: list[int] = []
    run = fewshot.dock.controller.run
    monkeypatch.setattr(fewshot.dock.controller, "run", lambda: (runs.append(1), run()))
    press(clicks, PLACE)
    fewshot.settle()
    assert len(runs) == 1
    clicks.selected_data = {0}
    clicks.remove_selected()
    fewshot.settle()
    assert len(runs) == 2


def test_clicks_follow_their_image(fewshot, clicks):
    press(clicks, PLACE)
    before = fewshot.dock.controller._given()
    fewshot.image.scale, fewshot.image.translate = (3, 2, 2), (5, -8, 1)
    assert fewshot.dock.controller._given() == before
    np.testing.assert_allclose(clicks.data_to_world(PLACE), fewshot.image.data_to_world(PLACE))


def test_kept_clicks_outlive_a_run_before_they_are_back(fewshot, clicks):
    labels = fewshot.viewer.layers["some"].data
    press(clicks, PLACE)
    fewshot.run()
    made = fewshot.result.copy()
    fewshot.viewer.window.remove_dock_widget(fewshot.dock.parent())
    fewshot.viewer.layers.clear()
    dock = fewshot.open(labels=labels, scale=(3, 1, 1))
    dock.run_button.click()  # at once
    fewshot.settle()
    assert given(fewshot) == [(4, 1, True)]
    assert dock.supports.item(1).text().startswith("4 · clicked")
    np.testing.assert_array_equal(fewshot.result, made)
    dock.clicks.setCurrentIndex(0)  # taken back by the user
    dock.clicks.activated.emit(0)
    fewshot.run()
    assert kept_clicks(run_folder(dock.controller.results.output.path)) == {}


def test_clicks_of_one_image_are_not_used_on_another(fewshot, clicks):
    press(clicks, PLACE)
    dock = fewshot.dock
    fewshot.viewer.add_image(VOLUME[:, ::-1], name="other", scale=(3, 1, 1))
    for name, chosen in (("other", "none"), ("stack", "stack corrections")):
        dock.image.setCurrentText(name)
        dock.image.activated.emit(dock.image.currentIndex())
        assert dock.clicks.currentText() == chosen
        assert len(dock.controller._given()) == (name == "stack")


def test_a_rejection_is_kept_when_the_rest_is_cancelled(fewshot):
    begin(fewshot)
    dock, controller = fewshot.dock, fewshot.dock.controller
    fewshot.qtbot.waitUntil(lambda: len(fewshot.fake.calls) > 2, timeout=30_000)
    fewshot.show(1)
    fewshot.qtbot.waitUntil(lambda: controller.results.is_predicted((1,)), timeout=30_000)
    dock.reject_button.click()
    dock.cancel_button.click()
    fewshot.settle()
    assert controller.results.decisions.rejected == {(1,)}
    assert not fewshot.result[1].any()


def test_go_on_counts_while_a_paused_run_is_begun_anew(fewshot):
    begin(fewshot)
    dock = fewshot.dock
    dock.pause_button.click()
    dock.run_button.click()
    assert dock.pause_button.text() == "Go on"
    dock.pause_button.click()
    assert dock.pause_button.text() == "Pause"
    fewshot.fake.slow = 0
    fewshot.settle()
    assert np.isfinite(fewshot.cells).all()


def test_the_label_counts_for_naparis_own_tool_too(fewshot, clicks):
    fewshot.dock.click_label.setValue(7)
    clicks.mode = "add"
    clicks.add((4, 5, 5))
    assert given(fewshot) == [(4, 7, True)]
