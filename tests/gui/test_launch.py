"""The demo: a picture, the dock, one object clicked."""

from __future__ import annotations

import numpy as np
import pytest

from napari_iseg.errors import InputError
from napari_iseg.samples import Sample, sample
from napari_iseg.widgets import click_dock, launch

from .fakes import FakeLoader


@pytest.fixture
def _fake_models(monkeypatch, tmp_path):
    monkeypatch.setattr(click_dock, "ModelLoader", lambda _folder: FakeLoader())
    read = click_dock.Preferences(autosave_folder=tmp_path, preload=False)
    monkeypatch.setattr(click_dock.Preferences, "read", classmethod(lambda _cls: read))


@pytest.mark.usefixtures("_fake_models")
@pytest.mark.parametrize("name", ["cells", "organelles"])
def test_the_demo_has_one_object_clicked(make_napari_viewer, qtbot, name):
    picture = sample(name)
    viewer = launch.open_demo(picture, viewer=make_napari_viewer(), block=False)
    (dock,) = [
        widget for widget in viewer.window.dock_widgets.values() if isinstance(widget, click_dock.ClickDock)
    ]
    controller = dock.controller
    qtbot.waitUntil(lambda: controller.editor.settled and not controller.worker.busy, timeout=30_000)
    (click,) = controller.editor.session.clicks
    plane = controller.editor.session.plane
    assert picture.labels[(*plane, round(click.row), round(click.col))] > 0
    assert controller.editor.layers.current.data.any()
    dock.shut_down()
    assert controller.worker.join(10)


def test_the_demo_clicks_an_object_that_stands_alone():
    labels = np.zeros((60, 80), np.uint16)
    labels[20:30, 36:42], labels[20:30, 42:48] = 2, 3  # in the middle, side by side
    labels[40:50, 60:70] = 1
    picture = Sample("made", labels.astype(np.uint8), labels, None, None, rgb=False)
    assert labels[tuple(int(value) for value in launch.good_point(picture))] == 1
    labels[40:50, 60:70] = 0
    assert labels[tuple(int(value) for value in launch.good_point(picture))] in (2, 3)


@pytest.mark.usefixtures("_fake_models")
def test_an_unknown_model_is_refused(make_napari_viewer):
    viewer = make_napari_viewer()
    with pytest.raises(InputError, match="not on this machine"):
        launch.open_demo("cells", model="no-such-model", viewer=viewer, block=False)
