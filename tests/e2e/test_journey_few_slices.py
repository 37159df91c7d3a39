"""A microscopist's second half: annotated slices in, a volume out, one correction, files for a colleague.

A fake model that knows grey values stands for the network: what is tested is the journey. One test runs the
default model on a small piece of the sample.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_iseg.labels.store import LabelStore
from napari_iseg.samples import sample

sys.path.insert(0, str(Path(__file__).parents[1] / "fewshot"))

from run_fakes import GreyPredictor, blobs, sparse

HAS_DISPLAY = sys.platform in ("win32", "darwin") or bool({"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ))
pytestmark = pytest.mark.skipif(
    not HAS_DISPLAY, reason="needs a display: run under xvfb-run -a -s '-screen 0 1280x1024x24'"
)
SCALE, SHIFT = (40.0, 8.0, 8.0), (120.0, 0.0, 16.0)
VOLUME, TRUTH = blobs(depth=9)
DOUBTFUL = 6
VOLUME = VOLUME.copy()
VOLUME[DOUBTFUL][TRUTH[DOUBTFUL] == 2] = 135  # as near to one label as to the other


class Sitting:
    """A viewer with a stack, three annotated slices and the dock."""

    def __init__(self, viewer: Any, qtbot: Any, folder: Path) -> None:
        from napari_iseg.widgets.fewshot_dock import FewShotDock
        from napari_iseg.widgets.preferences import Preferences

        self.viewer, self.qtbot, self.fake = viewer, qtbot, GreyPredictor()
        self.make = lambda **more: FewShotDock(
            viewer, preferences=Preferences(autosave_folder=folder), **more
        )
        self.dock: Any = None

    def open_dock(self, **more: Any) -> Any:
        self.dock = self.make(**more)
        self.widget = self.viewer.window.add_dock_widget(self.dock, name="Few-shot segmentation")
        self.settle()
        return self.dock

    def open_fake(self) -> Any:
        return self.open_dock(models={"grey": "nearest grey"}, load=lambda *_: self.fake)

    def settle(self) -> None:
        controller = self.dock.controller
        self.qtbot.waitUntil(lambda: not controller.running and not controller.worker.busy, timeout=300_000)

    @property
    def result(self) -> np.ndarray:
        return np.asarray(self.dock.controller.results.layer.data)


@pytest.fixture
def sitting(make_napari_viewer: Any, qtbot: Any, tmp_path: Path) -> Iterator[Sitting]:
    made = Sitting(make_napari_viewer(), qtbot, tmp_path / "results")
    yield made
    made.dock.shut_down()
    assert made.dock.controller.worker.join(20), "the worker thread did not end"


def test_three_slices_one_correction_saved_closed_reopened(sitting, tmp_path):
    viewer, place = sitting.viewer, {"scale": SCALE, "translate": SHIFT, "units": ("nm",) * 3}
    image = viewer.add_image(VOLUME, name="stack", **place)
    annotated = viewer.add_labels(sparse(TRUTH, 0, 4, 8).astype(np.uint8), name="some", **place)
    dock = sitting.open_fake()
    assert dock.labels.currentText() == "some"
    for button in (dock.pause_button, dock.cancel_button, dock.accept_button, dock.save_button):
        assert not button.isEnabled(), "nothing can be done before a run"

    # run: supports with thumbnails, what is in view first, then the nearest, with the time left
    viewer.dims.set_current_step(0, 2)
    said: list[str] = []
    dock.controller.signals.progress.connect(lambda _progress: said.append(dock.left.text()))
    dock.run_button.click()
    sitting.settle()
    rows = [dock.supports.item(i) for i in range(dock.supports.count())]
    assert [row.text().split(" · ")[0] for row in rows] == ["0", "4", "8"]
    assert not any(row.icon().isNull() for row in rows)
    assert sitting.fake.calls[0] == (2 * SCALE[0],)
    assert any("left" in text for text in said)
    np.testing.assert_array_equal(sitting.result[:DOUBTFUL], TRUTH[:DOUBTFUL])

    # it lies where the image lies, to the pixel, and is neither everything nor nothing
    layer = dock.controller.results.layer
    for corner in ((0, 0, 0), (8, 23, 23)):
        np.testing.assert_allclose(layer.data_to_world(corner), image.data_to_world(corner))
    assert all(0 < np.count_nonzero(plane) < plane.size for plane in sitting.result)
    np.testing.assert_array_equal(annotated.data, sparse(TRUTH, 0, 4, 8))

    # the doubtful slice is where "next" leads; one click there, and it is in the answer at once
    dock.next_button.click()
    assert viewer.dims.current_step[0] == DOUBTFUL
    dock.clicks.activated.emit(dock.clicks.count() - 1)  # "new layer…"
    clicks = viewer.layers["stack corrections"]
    clicks.feature_defaults = {"label": [2]}
    row, col = np.argwhere(TRUTH[DOUBTFUL] == 2).mean(0).round()
    sitting.fake.calls.clear()
    clicks.add((DOUBTFUL, row, col))
    sitting.settle()
    assert sitting.fake.calls[0] == (DOUBTFUL * SCALE[0],), "the slice in view before its neighbours"
    assert sitting.result[DOUBTFUL, int(row), int(col)] == 2
    assert {5 * SCALE[0], 7 * SCALE[0]} <= {call[0] for call in sitting.fake.calls}, "neighbours follow"

    # a word on a slice is kept; a click is one slice's, nothing else was taken for an annotation
    viewer.dims.set_current_step(0, 1)
    dock.reject_button.click()
    assert not sitting.result[1].any()
    assert dock.supports.count() == 4

    # saved for Fiji and for everybody else, with scale and units
    for name in ("result.tif", "result.zarr"):
        dock.controller.save(tmp_path / name)
        sitting.settle()
    with tifffile.TiffFile(tmp_path / "result.tif") as tiff:
        assert tiff.imagej_metadata["unit"] == "nm"
        assert tiff.imagej_metadata["spacing"] == SCALE[0]
        assert tiff.pages[0].tags["XResolution"].value[1] / tiff.pages[0].tags["XResolution"].value[0] == 8
        np.testing.assert_array_equal(tiff.asarray(), sitting.result)
    saved = LabelStore.open(tmp_path / "result.zarr")
    assert saved.space.scale == SCALE
    assert saved.space.translate == SHIFT
    assert saved.space.units == ("nanometer",) * 3

    # closed and reopened: nothing is computed again, and the rejected slice is still empty
    before = sitting.result.copy()
    viewer.window.remove_dock_widget(sitting.widget)
    sitting.fake.calls.clear()
    dock = sitting.open_fake()
    assert "earlier result" in dock.status.text()
    assert dock.labels.currentText() == "some", "a result is not taken for an annotation"
    dock.clicks.setCurrentText("stack corrections")
    dock.clicks.activated.emit(dock.clicks.currentIndex())
    dock.run_button.click()
    sitting.settle()
    assert sitting.fake.calls == []
    np.testing.assert_array_equal(sitting.result, before)


def test_the_window_stays_alive_while_it_runs(sitting):
    from qtpy.QtCore import QTimer

    sitting.viewer.add_image(VOLUME, name="stack")
    sitting.viewer.add_labels(sparse(TRUTH, 4).astype(np.uint8), name="some")
    sitting.fake.slow = 0.3
    dock = sitting.open_fake()
    beats: list[int] = []
    timer = QTimer(dock)
    timer.timeout.connect(lambda: beats.append(len(sitting.fake.calls)))
    timer.start(20)
    dock.run_button.click()
    for plane in (3, 1, 7):
        sitting.viewer.dims.set_current_step(0, plane)
        sitting.qtbot.wait(150)
    sitting.settle()
    timer.stop()
    # a window that waits for the model would beat before the first slice and after the last one only
    assert len(set(beats)) > 5


def test_the_default_model_on_the_sample(sitting):
    """Right after install: a slice in the middle of two annotated ones comes out well."""
    found = sample("organelles")
    part = (slice(4, 9), slice(40, 168), slice(40, 168))
    truth = (found.labels[part] > 0).astype(np.uint8)
    sitting.viewer.add_image(found.image[part], name="organelles", scale=found.scale)
    sitting.viewer.add_labels(sparse(truth, 0, 4), name="some", scale=found.scale)
    dock = sitting.open_dock()
    dock.device.setCurrentText("cpu")
    dock.region.setCurrentIndex(2)
    dock.range.setValue((2, 2))
    dock.run_button.click()
    sitting.settle()
    mask = sitting.result[2] > 0
    overlap = (mask & (truth[2] > 0)).sum() / (mask | (truth[2] > 0)).sum()
    assert overlap > 0.5
    assert 0 < mask.mean() < 1
    assert not sitting.result[1].any(), "only what was asked for"
