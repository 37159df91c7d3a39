"""The list of annotated slices before a run: it follows brush and commits, and nothing else."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QApplication, QComboBox, QListWidget

from napari_iseg.widgets.scene import OUTPUT

from .fewshot_bench import TRUTH, sparse
from .napari_versions import camera_of


def test_annotated_slices_are_listed_before_the_run_and_while_painting(fewshot):
    dock = fewshot.open(labels=sparse(TRUTH, 1, 3).astype(np.uint8))
    fewshot.settle()
    listed = lambda: [dock.supports.item(i).text().split(" · ")[0] for i in range(dock.supports.count())]  # noqa: E731
    assert listed() == ["1", "3"]
    assert not dock.supports.item(0).icon().isNull()
    layer = fewshot.viewer.layers["some"]
    layer.paint((4, 6, 6), 1)
    QApplication.processEvents()  # it is looked at from the event loop
    fewshot.settle()
    assert listed() == ["1", "3", "4"]
    layer.undo()
    fewshot.settle()
    assert listed() == ["1", "3"]
    fewshot.viewer.layers.remove("some")
    fewshot.settle()
    assert listed() == []


def test_committed_slices_are_listed_as_they_are_committed(bench, fewshot):
    fewshot.viewer = bench.viewer
    dock = fewshot.open(np.full((5, 64, 64), 80, np.uint8))
    bench.open()
    for plane in (1, 2, 4):
        bench.viewer.dims.set_point(0, plane)
        bench.click((plane, 30, 30))
        bench.do("commit")
    fewshot.settle()
    words = [dock.supports.item(i).text().replace("\n", " · ") for i in range(dock.supports.count())]
    assert words == ["1 · labelled · label 1", "2 · labelled · label 2", "4 · labelled · label 3"]


def test_of_the_click_docks_layers_only_the_committed_objects_are_annotations(bench, fewshot):
    fewshot.viewer = bench.viewer
    dock = fewshot.open(np.full((64, 64), 80, np.uint8))
    bench.open()
    bench.click((30, 30))
    assert [dock.labels.itemText(i) for i in range(dock.labels.count())] == ["none"]
    assert [dock.clicks.itemText(i) for i in range(dock.clicks.count())] == ["none", "new layer…"]
    for own, regions in ((True, 3), (False, 4)):
        bench.viewer.add_shapes(metadata={OUTPUT: True} if own else {})
        assert dock.region.count() == regions
    bench.do("commit")
    assert dock.labels.currentText() == bench.editor.layers.committed.name


def test_a_look_around_reads_no_labels_again(fewshot, monkeypatch):
    dock = fewshot.open(labels=sparse(TRUTH, 1).astype(np.uint8))
    fewshot.settle()
    lists = []
    monkeypatch.setattr(dock.controller.before, "list_annotated", lambda: lists.append(1))
    for plane in (4, 0, 2):
        fewshot.viewer.dims.set_point(0, plane)
    camera_of(fewshot.viewer).zoom *= 2
    assert lists == []
    fewshot.viewer.layers["some"].refresh()
    assert len(lists) == 1


def test_a_choice_in_a_list_by_mouse_leaves_the_keyboard_with_the_canvas(fewshot):
    dock = fewshot.open()
    QApplication.sendEvent(dock, QShowEvent())
    lists = [*dock.findChildren(QComboBox), *dock.findChildren(QListWidget)]
    assert dock.supports in lists
    assert {choice.focusPolicy() for choice in lists} == {Qt.FocusPolicy.TabFocus}
