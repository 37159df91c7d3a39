"""The button "Refine edges": in the worker, undoable, with words when it cannot be done."""

from __future__ import annotations

import threading

import numpy as np

from napari_iseg.errors import SaveError

IMAGE = np.zeros((128, 128), np.uint8)


def test_it_refines_the_current_object_in_the_worker_and_can_be_undone(bench):
    bench.viewer.add_image(IMAGE)
    dock = bench.open()
    button = dock.actions.buttons["refine_edges"]
    assert not button.isEnabled()
    assert dock.edge_models.currentText() == "widen"
    bench.click((60, 60))
    before = bench.editor.session.mask
    assert button.isEnabled()
    button.click()
    bench.settle()
    after = bench.editor.session.mask
    assert after.sum() > before.sum()
    assert bench.editor.layers.current.data.sum() == after.sum()
    assert threading.get_ident() not in bench.loader.refiner.threads
    assert "stands until the next click" in dock.status.text()
    bench.do("undo")
    assert "stands until" not in dock.status.text()
    np.testing.assert_array_equal(bench.editor.session.mask, before)
    bench.do("redo")
    bench.do("commit")
    assert (bench.editor.session.labels.levels[0][:] == 1).sum() == after.sum()


def test_it_waits_for_the_answer_to_the_last_click(bench):
    bench.viewer.add_image(IMAGE)
    dock = bench.open()
    bench.loader.net.seconds = 0.2
    dock.controller.click_world((60, 60), True)
    dock.controller.perform("refine_edges")
    bench.settle()
    assert len(bench.editor.session.clicks) == 1
    plain = np.zeros_like(IMAGE, bool)
    bench.editor.session.patch.paste_mask(plain)
    bench.do("undo")
    assert bench.editor.session.mask.sum() < plain.sum()


def test_what_is_missing_is_said(bench, monkeypatch):
    said = []
    monkeypatch.setattr("napari_iseg.widgets.click_controller.report", lambda error: said.append(str(error)))
    bench.viewer.add_image(IMAGE)
    dock = bench.open()
    bench.do("refine_edges")
    assert "nothing to refine" in dock.status.text()
    bench.click((60, 60))
    mask = bench.editor.session.mask
    bench.loader.refiner.lost = True
    bench.do("refine_edges")
    assert "lost the object" in said[0]
    np.testing.assert_array_equal(bench.editor.session.mask, mask)


def test_a_full_disk_at_its_end_is_said_and_holds_nothing_up(bench, monkeypatch):
    said = []
    monkeypatch.setattr("napari_iseg.widgets.click_controller.report", lambda error: said.append(str(error)))
    bench.viewer.add_image(IMAGE)
    bench.open()
    bench.click((60, 60))
    session = bench.editor.session
    mask = session.mask

    def full(_result):
        raise SaveError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(session, "finish_edges", full)
        bench.do("refine_edges")
    assert said == ["The disk is full."]
    assert bench.editor.activity == ""
    bench.do("commit")
    np.testing.assert_array_equal(session.labels.levels[0][:] > 0, mask)


def test_without_a_refinement_model_the_dock_says_where_to_get_one(bench, monkeypatch):
    monkeypatch.setattr(type(bench.loader), "edge_cards", lambda _self: [])
    bench.viewer.add_image(IMAGE)
    dock = bench.open()
    assert not dock.edge_models.isEnabled()
    bench.click((60, 60))
    bench.do("refine_edges")
    assert "napari-iseg models list" in dock.status.text()


def test_it_can_be_stopped_and_a_newer_click_takes_its_place(bench):
    bench.viewer.add_image(IMAGE)
    dock = bench.open()
    bench.click((60, 60))
    mask = bench.editor.session.mask
    bench.loader.refiner.seconds = 0.5
    dock.controller.perform("refine_edges")
    assert dock.stop_button.isEnabled()
    dock.stop_button.click()
    bench.settle()
    np.testing.assert_array_equal(bench.editor.session.mask, mask)
    dock.controller.perform("refine_edges")
    bench.click((60, 90))
    assert len(bench.editor.session.clicks) == 2
    bench.do("undo")
    np.testing.assert_array_equal(bench.editor.session.mask, mask)
