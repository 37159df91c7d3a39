"""The few-shot dock: three slices annotated, run, one correction, refreshed."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
from napari.layers._layer_actions import _duplicate_layer
from qtpy.QtWidgets import QFileDialog, QScrollArea

from napari_iseg.errors import ModelNotFoundError
from napari_iseg.fewshot.frame import Frame
from napari_iseg.images import PlaneSource
from napari_iseg.labels.store import LabelStore
from napari_iseg.weights.store import Store, list_models

from .conftest import NO_WINDOW
from .fewshot_bench import TRUTH, VOLUME, sparse
from .napari_versions import camera_of

if NO_WINDOW is None:
    from napari_iseg.widgets.fewshot_models import Loader, known_models
    from napari_iseg.widgets.fewshot_outputs import digests_of, output_path
    from napari_iseg.widgets.preferences import Preferences
    from napari_iseg.widgets.trust_strip import REJECTED, SUPPORT


def test_annotated_slices_become_all(fewshot):
    dock = fewshot.open(labels=sparse(TRUTH, 2).astype(np.uint8), scale=(3, 1, 1), translate=(10, 0, 0))
    fewshot.run()
    np.testing.assert_array_equal(fewshot.result, TRUTH)
    layer = dock.controller.results.layer
    assert layer.name == "stack few-shot"
    np.testing.assert_array_equal(layer.scale, (3, 1, 1))
    np.testing.assert_array_equal(layer.translate, (10, 0, 0))
    np.testing.assert_allclose(fewshot.cells, [0.9, 0.9, SUPPORT, 0.9, 0.8], atol=0.11)
    assert [dock.supports.item(i).text().split("\n")[0] for i in range(dock.supports.count())] == [
        "2 · labelled"
    ]
    assert not dock.supports.item(0).icon().isNull()
    assert dock.progress.value() == dock.progress.maximum() == 5
    assert "Done" in dock.status.text()


def test_accepting_a_slice_makes_it_an_annotation_and_renews_the_rest(fewshot):
    fewshot.open(labels=sparse(TRUTH, 0).astype(np.uint8))
    fewshot.run()
    fewshot.fake.calls.clear()
    fewshot.show(4)
    assert fewshot.dock.accept_button.isEnabled()
    fewshot.dock.accept_button.click()
    fewshot.settle()
    assert fewshot.cells[4] == SUPPORT
    origins = [fewshot.dock.supports.item(i).text().split(" · ")[1].split("\n")[0] for i in range(2)]
    assert origins == ["labelled", "accepted"]
    assert {p[0] for p in fewshot.fake.calls} == {1, 2, 3}
    assert not fewshot.viewer.layers["some"].data[4].any(), "the user's layer is left alone"


def test_a_prediction_is_no_annotation_without_the_users_word(fewshot):
    fewshot.open(labels=sparse(TRUTH, 0).astype(np.uint8))
    fewshot.run()
    fewshot.run()
    assert fewshot.dock.supports.count() == 1
    assert fewshot.dock.controller.report.computed == 0


def test_a_rejected_slice_is_emptied_and_marked(fewshot):
    fewshot.open(labels=sparse(TRUTH, 0).astype(np.uint8))
    fewshot.run()
    fewshot.show(3)
    fewshot.dock.reject_button.click()
    assert not fewshot.result[3].any()
    assert fewshot.cells[3] == REJECTED
    fewshot.run()
    assert not fewshot.result[3].any(), "the user's word holds"


def test_rejecting_in_mid_run_waits_for_what_is_written_and_the_run_goes_on(fewshot):
    fewshot.open(labels=sparse(TRUTH, 0).astype(np.uint8))
    fewshot.run()
    fewshot.viewer.layers["some"].data[0, 12, 12] = 1  # all others are stale
    fewshot.fake.slow = 0.4
    fewshot.show(4)
    fewshot.fake.calls.clear()
    fewshot.dock.run_button.click()
    button = fewshot.dock.reject_button
    fewshot.qtbot.waitUntil(lambda: len(fewshot.fake.calls) > 1 and button.isEnabled(), timeout=60_000)
    fewshot.dock.reject_button.click()
    fewshot.settle()
    assert fewshot.cells[4] == REJECTED
    assert not fewshot.result[4].any()
    assert fewshot.result[3].any()
    assert np.isfinite(fewshot.cells).all()


def test_another_image_in_mid_run_gets_nothing_of_it(fewshot):
    dock = fewshot.open(labels=sparse(TRUTH, 0).astype(np.uint8))
    fewshot.fake.slow = 0.4
    dock.run_button.click()
    fewshot.qtbot.waitUntil(lambda: len(fewshot.fake.calls) > 1, timeout=60_000)
    fewshot.viewer.add_image(VOLUME[:, :20, :20], name="other")
    dock.image.setCurrentText("other")
    dock.image.activated.emit(dock.image.currentIndex())
    fewshot.settle()
    assert dock.controller.results is None
    assert not dock.save_button.isEnabled()
    assert not dock.next_button.isEnabled()


def test_run_on_another_image_in_mid_run_comes_after_it(fewshot):
    dock = fewshot.open(labels=sparse(TRUTH, 0).astype(np.uint8))
    fewshot.fake.slow = 0.4
    dock.run_button.click()
    fewshot.qtbot.waitUntil(lambda: len(fewshot.fake.calls) > 1, timeout=60_000)
    fewshot.fake.slow = 0.0
    other = fewshot.viewer.add_image(VOLUME[::-1].copy(), name="other")
    dock.image.setCurrentText("other")
    dock.image.activated.emit(dock.image.currentIndex())
    dock.run_button.click()
    fewshot.settle()
    assert dock.controller.report is not None
    assert dock.controller.results.layer.name == f"{other.name} few-shot"


def test_what_was_accepted_and_rejected_is_there_after_the_dock_was_closed(fewshot):
    some = sparse(TRUTH, 0).astype(np.uint8)
    fewshot.open(labels=some)
    fewshot.run()
    fewshot.show(4)
    fewshot.dock.accept_button.click()
    fewshot.settle()
    fewshot.show(3)
    fewshot.dock.reject_button.click()
    result = fewshot.result.copy()
    cells = fewshot.cells.copy()
    assert (cells[3], cells[4]) == (REJECTED, SUPPORT)
    fewshot.dock.shut_down()
    for name in ("stack", "some"):
        fewshot.viewer.layers.remove(name)
    fewshot.fake.calls.clear()
    fewshot.open(VOLUME.copy(), labels=some)  # as after a restart: another array with the same pixels
    shown = fewshot.dock.labels
    assert [shown.itemText(i) for i in range(shown.count())] == ["none", "some"], "a result is no annotation"
    fewshot.settle()
    assert "earlier result" in fewshot.dock.status.text()
    fewshot.run()
    assert fewshot.fake.calls == []
    np.testing.assert_array_equal(fewshot.cells, cells)
    np.testing.assert_array_equal(fewshot.result, result)
    assert sum("few-shot" in layer.name for layer in fewshot.viewer.layers) == 1, "its layer is taken over"
    fewshot.show(4)
    assert not fewshot.dock.accept_button.isEnabled()
    fewshot.dock.reject_button.click()  # the acceptance is taken back
    fewshot.settle()
    assert fewshot.cells[4] == pytest.approx(0.8)


def test_an_empty_slice_can_be_called_right(fewshot):
    volume = VOLUME.copy()
    volume[4] = 20
    fewshot.open(volume, sparse(TRUTH, 0).astype(np.uint8))
    fewshot.run()
    assert not fewshot.result[4].any()
    fewshot.show(4)
    fewshot.dock.accept_button.click()
    fewshot.settle()
    assert fewshot.cells[4] == SUPPORT
    assert fewshot.dock.supports.count() == 2


def test_an_annotated_slice_cannot_be_accepted_or_rejected(fewshot):
    fewshot.open(labels=sparse(TRUTH, 2).astype(np.uint8))
    fewshot.run()
    fewshot.show(2)
    assert not fewshot.dock.accept_button.isEnabled()
    fewshot.dock.controller.reject()
    np.testing.assert_array_equal(fewshot.result[2], TRUTH[2])


def test_a_click_on_a_slice_corrects_it_the_slice_in_view_first(fewshot):
    fewshot.open(labels=sparse(TRUTH, 0).astype(np.uint8))
    assert fewshot.dock.clicks.itemText(1) == "new layer…"
    fewshot.dock.clicks.activated.emit(1)
    points = fewshot.viewer.layers["stack corrections"]
    assert (fewshot.dock.clicks.currentText(), points.mode) == ("stack corrections", "pan_zoom")
    fewshot.run()
    assert fewshot.viewer.layers.selection.active is points, "the user stays in their layer"
    fewshot.fake.calls.clear()
    fewshot.show(4)
    points.feature_defaults = {"label": [2]}
    points.add((4, 3, 3))
    fewshot.settle()
    assert fewshot.fake.calls[0] == (4.0,)
    origins = [fewshot.dock.supports.item(i).text().split("\n")[0] for i in range(2)]
    assert origins == ["0 · labelled", "4 · clicked"]


def test_next_to_annotate_goes_to_the_doubtful_slice(fewshot):
    volume = VOLUME.copy()
    volume[3][TRUTH[3] == 2] = 135  # as near to one label as to the other
    fewshot.open(volume, sparse(TRUTH, 0).astype(np.uint8))
    fewshot.run()
    fewshot.dock.next_button.click()
    assert fewshot.viewer.dims.current_step[0] == 3
    assert "Annotate here next" in fewshot.dock.status.text()


def test_next_goes_on_from_a_rejected_slice(fewshot):
    dock = fewshot.open(labels=sparse(TRUTH, 0).astype(np.uint8))
    fewshot.run()
    seen = []
    for _ in range(4):
        dock.next_button.click()
        seen.append(fewshot.viewer.dims.current_step[0])
        dock.reject_button.click()
    assert sorted(seen) == [1, 2, 3, 4]
    assert not dock.next_button.isEnabled()
    fewshot.run()
    assert not dock.next_button.isEnabled(), "the user's word holds"
    fewshot.viewer.layers["some"].data[0, 12, 12] = 1
    fewshot.run()
    assert dock.next_button.isEnabled(), "they have new answers"


def test_pause_go_on_and_cancel(fewshot):
    volume, truth = np.concatenate([VOLUME] * 4), np.concatenate([TRUTH] * 4)
    fewshot.fake.slow = 0.5
    fewshot.open(volume, sparse(truth, 0).astype(np.uint8))
    fewshot.dock.run_button.click()
    fewshot.qtbot.waitUntil(lambda: fewshot.fake.calls != [], timeout=30_000)
    fewshot.dock.pause_button.click()
    assert fewshot.dock.pause_button.text() == "Go on"
    fewshot.qtbot.wait(1000)  # what was being computed comes to its end
    paused = len(fewshot.fake.calls)
    fewshot.qtbot.wait(1200)
    assert len(fewshot.fake.calls) == paused
    fewshot.dock.pause_button.click()
    fewshot.qtbot.waitUntil(lambda: len(fewshot.fake.calls) > paused, timeout=30_000)
    fewshot.dock.cancel_button.click()
    fewshot.settle()
    assert 0 < np.isfinite(fewshot.cells).sum() < 20
    fewshot.fake.slow = 0
    fewshot.run()
    np.testing.assert_array_equal(fewshot.result, truth)


def test_the_result_is_saved_where_the_image_lies(fewshot, tmp_path):
    dock = fewshot.open(labels=sparse(TRUTH, 2).astype(np.uint8), scale=(3, 1, 1))
    assert not dock.save_button.isEnabled()
    fewshot.run()
    assert dock.save_button.isEnabled()
    dock.save_button.click()
    dialog = dock.findChild(QFileDialog)
    assert "stack_few-shot" in dialog.selectedFiles()[0]
    dialog.reject()
    dock.controller.save(tmp_path / "copy.zarr")
    fewshot.settle()
    saved = LabelStore.open(tmp_path / "copy.zarr")
    np.testing.assert_array_equal(saved.levels[0][...], TRUTH)
    assert saved.space.scale == (3, 1, 1)
    assert "Saved" in dock.status.text()


def test_scale_and_units_given_late_count(fewshot, tmp_path):
    dock = fewshot.open(labels=sparse(TRUTH, 2).astype(np.uint8))
    fewshot.run()
    fewshot.image.scale, fewshot.image.translate = (5, -0.5, 0.5), (1, 20, 3)
    fewshot.image.units = ("um", "um", "um")
    layer = dock.controller.results.layer
    for corner in ((0, 0, 0), (4, 9, 9)):
        np.testing.assert_allclose(layer.data_to_world(corner), fewshot.image.data_to_world(corner))
    for again in (False, True):  # without a run since, and with one
        dock.controller.save(tmp_path / f"{again}.zarr")
        fewshot.settle()
        saved = LabelStore.open(tmp_path / f"{again}.zarr")
        np.testing.assert_array_equal(saved.levels[0][...], TRUTH)
        assert (saved.space.scale, saved.space.translate) == ((5, -0.5, 0.5), (1, 20, 3))
        assert saved.space.units == ("micrometer",) * 3
        fewshot.run()
    fewshot.image.rotate = 30
    dock.controller.save(tmp_path / "turned.zarr")
    fewshot.settle()
    assert "rotation or affine is not in it" in dock.status.text()


def test_nothing_is_cut_off_at_the_side(fewshot):
    dock = fewshot.open()
    fewshot.viewer.window._qt_window.show()
    fewshot.qtbot.waitExposed(fewshot.viewer.window._qt_window)
    fewshot.qtbot.wait(100)
    column = dock.findChild(QScrollArea)
    assert column.widget().width() <= column.viewport().width()


def test_regions(fewshot):
    dock = fewshot.open(labels=sparse(TRUTH, 0).astype(np.uint8))
    dock.region.setCurrentIndex(2)
    dock.range.setValue((3, 4))
    fewshot.run()
    assert np.isfinite(fewshot.cells).tolist() == [False, False, False, True, True]
    dock.region.setCurrentIndex(1)
    fewshot.show(2)
    fewshot.run()
    assert np.isfinite(fewshot.cells).tolist() == [False, False, True, False, False]
    np.testing.assert_array_equal(fewshot.result[2:], TRUTH[2:])
    fewshot.viewer.add_shapes([[[0, 0], [0, 8], [8, 8], [8, 0]]], name="here")
    assert dock.region.itemText(3) == "inside here"
    dock.region.setCurrentIndex(3)
    fewshot.run()
    np.testing.assert_array_equal(fewshot.result[1, :8, :8], TRUTH[1, :8, :8])
    assert not fewshot.result[1, 8:].any()
    assert not fewshot.result[1, :, 8:].any()
    np.testing.assert_array_equal(fewshot.result[2:], TRUTH[2:])
    fewshot.viewer.layers.remove("here")
    assert dock.region.currentText() == "whole image"


def test_a_strip_cell_is_a_way_to_its_slice(fewshot):
    fewshot.open(labels=sparse(TRUTH, 2).astype(np.uint8))
    fewshot.run()
    fewshot.dock.strip.chosen.emit(0, 4)
    assert fewshot.viewer.dims.current_step[0] == 4


def test_a_scene_is_done_in_tiles(fewshot):
    scene, truth = np.tile(VOLUME[0], (6, 6)), np.tile(TRUTH[0], (6, 6))
    labels = np.zeros(truth.shape, np.uint8)
    labels[:48, :48] = truth[:48, :48]
    dock = fewshot.open(scene, labels)
    dock.tile.setValue(64)
    dock.unlabelled.setCurrentIndex(1)
    assert not dock.axis.isEnabled()
    fewshot.run()
    assert fewshot.dock.strip.values.shape == (3, 3)
    assert np.array_equal(fewshot.result[labels > 0], labels[labels > 0])
    assert not dock.accept_button.isEnabled(), "a scene is no slice"
    dock.strip.chosen.emit(2, 2)
    place = fewshot.image.world_to_data(camera_of(fewshot.viewer).center[-2:])
    assert (place > 95).all(), "a cell is a way to its tile"


def test_bad_input_is_a_sentence(fewshot, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr("napari_iseg.widgets.reports.warn", said.append)
    dock = fewshot.open(labels=np.zeros_like(TRUTH, np.uint8))
    fewshot.run()
    assert "No slice or tile holds a label" in said[-1]
    fewshot.viewer.layers["some"].data = np.ones((3, 4, 4), np.uint8)
    fewshot.run()
    assert "needs labels of (5, 24, 24)" in said[-1]
    assert dock.run_button.isEnabled()


def test_the_cache_folder_of_the_preferences_is_looked_into(tmp_path, monkeypatch):
    (shipped,) = (card.folder for card in list_models() if card.name == "ifsenet-starter")
    mine = tmp_path / "models" / "mine"
    shutil.copytree(shipped, mine)
    card = mine / "card.toml"
    card.write_text(card.read_text().replace('name = "ifsenet-starter"', 'name = "mine"'))
    settings = Preferences(cache_folder=tmp_path)
    assert "mine" in known_models(settings)
    assert "mine" not in known_models(Preferences(cache_folder=tmp_path / "other"))
    assert "mine" in Loader(settings)("mine", "cpu").identity
    store = Store(tmp_path)
    with pytest.raises(ModelNotFoundError, match=re.escape(f"with NAPARI_ISEG_HOME={tmp_path} set")):
        store.weights_of(store.find("simpleclick-cocolvis-vit-b"))


def test_images_that_differ_beside_their_middle_have_results_of_their_own(tmp_path):
    one, other = np.zeros((2, 5, 200, 200), np.uint8)
    one[:, :40], other[:, 160:] = 200, 200
    frame = Frame.of(one.shape)
    paths = [
        output_path(tmp_path, "stack", digests_of(PlaneSource.wrap(v, rgb=False), frame, 512), None)
        for v in (one, one, other)
    ]
    assert paths[0] == paths[1] != paths[2]


def test_a_result_is_found_by_its_earlier_name(tmp_path):
    source, frame = PlaneSource.wrap(VOLUME, rgb=False), Frame.of(VOLUME.shape)
    earlier = tmp_path / "stack-1cf835ef762d.zarr"
    earlier.mkdir()
    for labels in (None, "some"):
        assert output_path(tmp_path, "stack", digests_of(source, frame, 512), labels) == earlier


def choose(fewshot, name):
    box = fewshot.dock.labels
    box.setCurrentText(name)
    box.activated.emit(box.currentIndex())
    fewshot.settle()


def supports(fewshot):
    rows = fewshot.dock.supports
    return [rows.item(i).text().split("\n")[0] for i in range(rows.count())]


def test_each_labels_layer_has_a_result_of_its_own(fewshot):
    one, two = sparse(TRUTH == 1, 0).astype(np.uint8), 2 * sparse(TRUTH == 2, 2).astype(np.uint8)
    dock = fewshot.open(labels=one)
    other = fewshot.viewer.add_labels(two, name="others")
    assert dock.labels.currentText() == "some"
    fewshot.run()
    first, made = dock.controller.results, fewshot.result.copy()
    fewshot.show(4)
    dock.accept_button.click()
    fewshot.settle()
    choose(fewshot, "others")
    assert supports(fewshot) == ["2 · labelled"], "listed anew"
    assert not dock.accept_button.isEnabled()
    fewshot.run()
    assert supports(fewshot) == ["2 · labelled"], "what was accepted of some is no annotation of others"
    assert dock.controller.results.layer.name == "stack few-shot of others"
    np.testing.assert_array_equal(np.asarray(first.layer.data), made)
    fewshot.viewer.layers["some"].name = "renamed"
    fewshot.fake.calls.clear()
    choose(fewshot, "renamed")
    assert "earlier result" in dock.status.text()
    fewshot.run()
    assert dock.controller.results.output.path == first.output.path
    assert (fewshot.fake.calls, supports(fewshot)) == ([], ["0 · labelled", "4 · accepted"])
    dock.shut_down()
    fewshot.viewer.layers.clear()
    dock = fewshot.open(labels=one)  # as after a restart, with the layer's name of before
    fewshot.viewer.layers["some"].name = other.name
    fewshot.run()
    assert dock.controller.results.output.path != first.output.path


def test_a_result_of_clicks_goes_on_with_the_first_labels(fewshot):
    dock = fewshot.open()
    fewshot.viewer.add_points([(0, 6, 6)], name="points")
    dock.clicks.setCurrentText("points")
    dock.clicks.activated.emit(dock.clicks.currentIndex())
    fewshot.run()
    results = dock.controller.results
    fewshot.viewer.add_labels(sparse(TRUTH, 1).astype(np.uint8), name="painted")
    assert dock.labels.currentText() == "painted"
    assert dock.controller.results is results
    fewshot.run()
    assert dock.controller.results is results
    choose(fewshot, "none")
    assert dock.controller.results is results


def test_a_copy_of_a_result_is_the_users_and_shares_no_pixels_that_can_be_painted(fewshot, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr("napari_iseg.widgets.fewshot_results.warn", said.append)
    dock = fewshot.open(labels=sparse(TRUTH, 0).astype(np.uint8))
    fewshot.run()
    layer, made = dock.controller.results.layer, fewshot.result.copy()
    fewshot.viewer.layers.selection.active = layer
    _duplicate_layer(fewshot.viewer.layers)
    copy = fewshot.viewer.layers["stack few-shot copy"]
    assert not copy.editable
    assert "cannot be painted in: save it" in said[-1]
    with pytest.raises(ValueError, match="read-only"):
        copy.data[3, :, :] = 7
    np.testing.assert_array_equal(fewshot.result, made)
    assert dock.labels.findText(copy.name) > 0
    assert dock.labels.findText(layer.name) < 0
    fewshot.viewer.layers.remove("some")
    assert dock.labels.currentText() == "none", "no annotation before the user says so"
    fewshot.viewer.layers["stack"].data = VOLUME.copy()
    fewshot.viewer.add_labels(sparse(TRUTH, 1).astype(np.uint8), name="some")
    fewshot.run()
    assert dock.controller.results.layer is not copy


def test_accept_and_reject_are_for_a_slice_that_is_displayed(fewshot, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr("napari_iseg.widgets.fewshot_controller.warn", said.append)
    dock = fewshot.open(labels=sparse(TRUTH, 0).astype(np.uint8))
    fewshot.run()
    fewshot.show(3)
    made, dims = fewshot.result.copy(), fewshot.viewer.dims
    for away, value in (("order", (1, 0, 2)), ("ndisplay", 3)):
        before = getattr(dims, away)
        setattr(dims, away, value)
        assert not dock.accept_button.isEnabled()
        assert not dock.reject_button.isEnabled()
        assert "show slices in 2D" in dock.status.text()
        dock.controller.reject()
        dock.controller.accept()
        assert ["show slices in 2D" in sentence for sentence in said] == [True, True]
        said.clear()
        setattr(dims, away, before)
        assert dock.accept_button.isEnabled()
        assert "show slices" not in dock.status.text()
    np.testing.assert_array_equal(fewshot.result, made)
    assert dock.controller.results.decisions.accepted == set()
    dims.order = (1, 0, 2)
    dock.region.setCurrentIndex(1)  # what is in view
    monkeypatch.setattr("napari_iseg.widgets.reports.warn", said.append)
    fewshot.run()
    assert "No slice of the image is in view" in said[-1]


def test_a_series_that_grows_has_its_new_planes_and_no_old_result(fewshot):
    dock = fewshot.open(labels=sparse(TRUTH, 0).astype(np.uint8))
    fewshot.run()
    before = dock.controller.results.layer
    fewshot.show(3)
    fewshot.image.data = np.concatenate([VOLUME, VOLUME[:2]])
    assert dock.axis.currentText() == "axis 0 (7)"
    assert dock.range.value() == (0, 6)
    assert np.isnan(fewshot.cells).all()
    assert dock.controller.results is None
    assert not dock.accept_button.isEnabled()
    assert "new pixels" in dock.status.text()
    assert not before.visible
    fewshot.viewer.layers["some"].data = sparse(np.concatenate([TRUTH, TRUTH[:2]]), 0).astype(np.uint8)
    fewshot.run()
    assert fewshot.result.shape == (7, 24, 24)
    assert fewshot.cells.shape == (7,)
    dock.shut_down()
    assert dock.controller._pixels_replaced not in fewshot.image.events.data.callbacks
