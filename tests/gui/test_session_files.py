"""Sessions come back: from File > Open and from the dock, with clicks, objects, history, plane and model."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.utils.notifications import notification_manager

from napari_iseg.backends.base import Inference
from napari_iseg.backends.model import Model
from napari_iseg.errors import ModelNotFoundError, SaveError
from napari_iseg.interactive.session import Session
from napari_iseg.widgets import getting_ready
from napari_iseg.widgets.asking import as_file_name
from napari_iseg.widgets.preferences import Preferences

from .fakes import CARD, SIZE, FakeLoader, LocalCard

STACK = np.random.default_rng(5).integers(0, 255, (3, 128, 120), dtype=np.uint8)


class TwoModels(FakeLoader):
    """Two methods; the second draws disks twice as large."""

    def cards(self) -> list[Any]:
        fields = {name: getattr(CARD, name) for name in CARD.__dataclass_fields__}
        first = LocalCard(**fields | {"backend": "cfr-icl"})
        return [first, LocalCard(**fields | {"name": "wide", "backend": "mst", "title": "Wide disks"})]

    def load(self, key: Any) -> Model:
        super().load(key)
        size = (64, 64) if key.name == "wide" else SIZE
        inference = Inference(threshold=0.5, flip=False, size=size)
        card = replace(CARD, name=key.name)
        return Model(card, self.net, device="cpu", precision="float32", inference=inference)


class OneModel(TwoModels):
    """The second method was removed."""

    def cards(self) -> list[Any]:
        return super().cards()[:1]

    def load(self, key: Any) -> Model:
        if key.name != "disks":
            raise ModelNotFoundError(f"There is no model {key.name!r}.")
        return super().load(key)


@pytest.fixture(autouse=True)
def _quiet_records():
    notification_manager.records.clear()
    yield
    notification_manager.records.clear()


def said() -> list[str]:
    return [notification.message for notification in notification_manager.records]


@pytest.fixture
def made(bench, tmp_path) -> Path:
    """A session on a TIFF stack: two objects in two planes, one click open; its dock and image are gone."""
    bench.loader = TwoModels()
    tifffile.imwrite(tmp_path / "stack.tif", STACK, photometric="minisblack")
    (image,) = bench.viewer.open(tmp_path / "stack.tif", plugin="napari")
    dock = bench.open()
    bench.click((1, 40, 40))
    bench.do("commit")
    bench.viewer.dims.set_point(0, 2)
    bench.settle()
    bench.click((2, 80, 80))
    bench.do("commit")
    dock.use_model("wide")
    bench.click((2, 30, 60))
    bench.click((2, 30, 75), positive=False)
    folder = bench.editor.session.folder
    bench.before = {
        "labels": bench.editor.session.labels.read((1,)).copy(),
        "mask": bench.editor.session.mask,
        "clicks": bench.editor.session.clicks,
    }
    bench.viewer.window.remove_dock_widget(dock)
    assert dock.controller.worker.join(10)
    bench.viewer.layers.clear()
    del image
    return folder


def assert_as_before(bench: Any) -> None:
    session = bench.editor.session
    assert session.plane == (2,)
    assert session.clicks == bench.before["clicks"]
    np.testing.assert_array_equal(session.labels.read((1,)), bench.before["labels"])
    np.testing.assert_array_equal(session.mask, bench.before["mask"])
    assert bench.editor.layers.points.data[:, 1:].tolist() == [[30, 60], [30, 75]]
    assert np.asarray(bench.editor.layers.current.data).any()
    assert np.asarray(bench.editor.layers.committed.data)[1, 40, 40] == 1
    assert bench.viewer.dims.point[0] == 2


def test_a_session_that_another_program_went_on_with_is_opened_again(bench, made):
    dock = bench.open()
    dock.controller.files.open(made)
    bench.qtbot.waitUntil(lambda: bench.editor is not None and bench.editor.session is not None)
    bench.settle()
    other = Session.open(made, STACK)
    other.plane = (0,)
    other.set_mask(np.eye(*STACK.shape[1:], dtype=bool))
    other.commit()
    other.close()
    bench.click((2, 90, 90))
    assert "changed by another program" in said()[-1]
    dock.controller.files.open(made)
    bench.rest()
    assert len(bench.editor.session.objects) == 3
    before = len(said())
    bench.click((2, 90, 90))
    assert len(said()) == before
    dock.controller.files.open(made)
    assert "open already" in dock.status.text()


def test_file_open_brings_everything_back(bench, made):
    bench.viewer.add_image(STACK[0], name="something else")
    dock = bench.open()
    assert bench.viewer.open(str(made / "session.toml"), plugin="napari-iseg") == []
    bench.qtbot.waitUntil(
        lambda: bench.editor is not None and bench.editor.session is not None, timeout=60_000
    )
    bench.settle()
    assert said() == []
    assert_as_before(bench)
    assert bench.editor.session.folder == made
    assert bench.viewer.layers.selection.active is bench.editor.layers.points
    assert dock.image_combo.currentText() == "stack"
    assert dock.models.card.name == "wide"  # the session's model, not the first of the list
    assert "2 objects" in dock.status.text()
    for _ in range(3):  # two clicks and the second commit
        bench.do("undo")
    assert len(bench.editor.session.objects) == 1
    for _ in range(3):
        bench.do("redo")
    assert_as_before(bench)
    bench.click((2, 100, 20))  # and it goes on
    assert len(bench.editor.session.clicks) == 3
    dock.controller.files.open(made)
    assert "open already" in dock.status.text()


def test_a_dock_opened_for_a_session_waits_for_its_layer_of_clicks(bench, made, monkeypatch):
    bench.loader = TwoModels()
    monkeypatch.setattr(getting_ready, "TABLES", "telnetlib3_or_so")  # as if nothing had loaded them yet
    loads = threading.Event()
    monkeypatch.setattr(getting_ready, "_load_tables", lambda: loads.wait(10))
    from napari_iseg.widgets.click_dock import ClickDock

    dock = ClickDock(bench.viewer, loader=bench.loader, preferences=Preferences(preload=False))
    bench.dock = dock
    bench.viewer.window.add_dock_widget(dock)
    dock.controller.files.open(made)
    bench.qtbot.wait(50)
    assert dock.controller.editor is None
    loads.set()
    bench.settle()
    assert_as_before(bench)
    assert "Opened: 2 objects" in dock.status.text()


def test_what_was_set_by_hand_comes_back_with_the_session(bench, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("stack.tif", STACK, photometric="minisblack")
    (image,) = bench.viewer.open("stack.tif", plugin="napari")  # by a path that holds in this folder only
    image.scale, image.units = (2, 0.5, 0.25), "micrometer"
    image.translate = (10, 0, -3)
    dock = bench.open()
    bench.click((1, 40, 40))
    folder = bench.editor.session.folder
    bench.viewer.window.remove_dock_widget(dock)
    assert dock.controller.worker.join(10)
    bench.viewer.layers.clear()
    monkeypatch.chdir("/")
    bench.open().controller.files.open(folder)
    bench.settle()
    assert said() == []
    for layer in (bench.dock.controller.image, bench.editor.layers.points):
        assert layer.scale.tolist() == [2, 0.5, 0.25]
        assert layer.translate.tolist() == [10, 0, -3]
        assert [str(unit) for unit in layer.units] == ["micrometer"] * 3


def test_the_chosen_image_serves_where_the_file_is_gone(bench, made, tmp_path):
    (tmp_path / "stack.tif").unlink()
    dock = bench.open()
    dock.controller.files.open(made)
    assert "stack.tif" in said()[-1]
    assert "open that image, choose it in the dock, and open the session again" in said()[-1]
    bench.viewer.add_image(STACK[:2], name="too small")
    dock.controller.files.open(made)
    assert bench.editor.session is None
    bench.viewer.add_image(STACK, name="from elsewhere")
    dock.image_combo.activated.emit(0)
    dock.controller.files.open(made)
    bench.settle()
    assert_as_before(bench)


def test_a_model_that_is_gone_is_said_and_replaced(bench, made):
    bench.loader = OneModel()
    dock = bench.open()
    dock.controller.files.open(made)
    bench.qtbot.waitUntil(lambda: bench.editor.session is not None, timeout=60_000)
    bench.settle()
    assert "The session's model wide is not here" in dock.status.text()
    assert bench.editor.session.clicks == bench.before["clicks"]
    assert bench.editor.session.model.card.name == "disks"
    assert bench.editor.layers.current.data.any()


def test_a_session_saved_elsewhere_goes_on_there(bench, made, tmp_path, monkeypatch):
    dock = bench.open()
    dock.controller.files.open(made)
    bench.qtbot.waitUntil(lambda: bench.editor.session is not None, timeout=60_000)
    bench.settle()
    records = (made / "journal.jsonl").read_bytes()
    target = tmp_path / "mine.iseg"
    monkeypatch.setattr(dock, "ask_for_new_folder", lambda _title, _suggestion, then: then(target))
    bench.do("save_session")
    assert bench.editor.session.folder == target
    assert_as_before(bench)
    bench.click((2, 100, 20))
    bench.do("undo")
    assert (made / "journal.jsonl").read_bytes() == records
    assert (target / "journal.jsonl").read_bytes().startswith(records)
    shutil.rmtree(made)
    bench.do("commit")
    assert len(bench.editor.session.objects) == 3
    bench.do("save_session")
    assert "exists already" in said()[-1]
    assert bench.editor.session.folder == target


def test_a_copy_that_cannot_be_opened_does_not_stay(bench, made, tmp_path, monkeypatch):
    dock = bench.open()
    dock.controller.files.open(made)
    bench.qtbot.waitUntil(lambda: bench.editor.session is not None, timeout=60_000)
    bench.settle()
    target = tmp_path / "mine.iseg"
    monkeypatch.setattr(dock, "ask_for_new_folder", lambda _title, _suggestion, then: then(target))

    def full(*_args, **_options):
        raise SaveError("No space left on device.")

    with monkeypatch.context() as failing:
        failing.setattr("napari_iseg.interactive.session.Session.open", full)
        bench.do("save_session")
    assert "No space left" in said()[-1]
    assert bench.editor.session.folder == made
    assert not target.exists()
    bench.do("save_session")
    assert bench.editor.session.folder == target


def test_a_long_name_of_a_layer_is_cut_to_one_that_a_file_may_have():
    assert as_file_name("a/b") == "a_b"
    assert len(as_file_name("é" * 300).encode()) == 200


def test_the_dock_asks_for_a_folder_and_says_what_is_no_session(bench, tmp_path, monkeypatch):
    dock = bench.open()
    monkeypatch.setattr(dock, "ask_for_folder", lambda _title, _start, then: then(tmp_path))
    assert dock.actions.buttons["open_session"].isEnabled()
    assert not dock.actions.buttons["save_session"].isEnabled()
    dock.actions.buttons["open_session"].click()
    assert "is not a session folder" in said()[-1]


def test_switching_the_model_keeps_the_clicks_and_replays_them(bench):
    bench.loader = TwoModels()
    bench.viewer.add_image(STACK[0])
    dock = bench.open()
    assert [heading.split(":")[0] for heading in dock.models.headings] == ["CFR-ICL", "MST"]
    assert all(len(heading.split(": ")[1]) > 10 for heading in dock.models.headings)
    bench.click((60, 60))
    bench.click((60, 80), positive=False)
    clicks, small = bench.editor.session.clicks, bench.editor.layers.current.data.sum()
    row = dock.models.combo.findText("  Wide disks")
    dock.models.combo.setCurrentIndex(row)
    dock.models.combo.activated.emit(row)
    bench.settle()
    assert bench.editor.session.model.card.name == "wide"
    assert bench.editor.session.clicks == clicks
    assert bench.editor.layers.points.data.tolist() == [[60, 60], [60, 80]]
    wide = bench.editor.layers.current.data.copy()
    assert wide.sum() > 1.5 * small
    bench.do("undo")
    bench.do("redo")
    np.testing.assert_array_equal(bench.editor.layers.current.data, wide)
