"""Preferences that are changed while a dock is open, and what its sentences say of them."""

from __future__ import annotations

from typing import Any

import napari.settings
import numpy as np
import pytest
import torch

from napari_iseg.backends.base import as_device
from napari_iseg.errors import DeviceError
from napari_iseg.widgets.click_dock import ClickDock
from napari_iseg.widgets.reports import in_the_dock

from .fakes import FakeLoader
from .test_click import press_and_release
from .test_manifest import MANIFEST


def test_the_key_of_background_clicks_is_followed(bench, plugin_settings, npe2pm):
    npe2pm.register(MANIFEST)
    stored = napari.settings.get_plugin_settings("napari-iseg")
    stored.computing.preload, stored.files.autosave_folder = False, str(bench.folder)
    bench.viewer.add_image(np.zeros((128, 128), np.uint8))
    bench.dock = dock = ClickDock(bench.viewer, loader=FakeLoader())
    bench.viewer.window.add_dock_widget(dock, name="Click segmentation")
    dock.controller.ready.points_now()

    def signs(*modifiers: str) -> list[bool]:
        for modifier in modifiers:
            press_and_release(bench.editor.layers.points, (60.0, 60.0), modifiers=[modifier])
            bench.settle()
        return [click.positive for click in bench.editor.session.clicks]

    assert signs("Control") == [False]
    stored.mouse.background_modifier = "Shift"
    assert signs("Control", "Shift") == [False, False]
    assert "Shift+click" in dock.actions.opposite.text()
    assert "Shift+click" in dock.actions.foreground.toolTip()
    assert "Shift+click" in dock.help.text()
    dock.shut_down()
    stored.mouse.background_modifier = "Control"
    assert dock.controller.hands.modifier == "Shift"


def test_the_other_preferences_say_when_they_count():
    for group in MANIFEST.contributions.configurations.values():
        for name, entry in group.properties.items():
            words = f"{entry.title}. {entry.description}"
            said = "when the dock is opened again" in words or "when the dock opens" in words
            assert said == (name != "background_modifier"), name


@pytest.mark.parametrize("device", ["cuda:99", "mps"])
def test_a_device_that_is_not_there_is_changed_in_the_dock(device: str, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(DeviceError) as told:
        as_device(device)
    assert in_the_dock(told.value).endswith("; choose another in the list Device.")


def test_overwriting_is_offered_where_it_can_be_done(bench):
    bench.viewer.add_image(np.random.default_rng(0).integers(0, 255, (128, 128), np.uint8))
    bench.open()
    for _ in range(2):
        bench.click((60, 60))
        bench.do("commit")
    assert bench.dock.status.text().endswith("delete or reopen those.")


def test_a_stored_device_that_is_not_there_is_told_of_in_words_of_the_dock(bench):
    bench.viewer.add_image(np.zeros((128, 128), np.uint8))
    dock: Any = bench.open(device="cuda")
    bench.click((60, 60))
    assert dock.status.text().endswith("; choose another in the list Device.")
