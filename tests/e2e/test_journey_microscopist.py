"""A sitting of a microscopist with the starter model, in a real window: clicks, undo, commits, a flat
battery, the session on the next day, and labels for colleagues.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_iseg.samples import sample

HAS_DISPLAY = sys.platform in ("win32", "darwin") or bool({"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ))
pytestmark = pytest.mark.skipif(
    not HAS_DISPLAY, reason="needs a display: run under xvfb-run -a -s '-screen 0 1280x1024x24'"
)
LEAKS = (9, 236, 91)  # the first answer to this click runs over into the cytoplasm
BESIDE = (9, 253, 84)  # there
OTHERS = ((12, 233, 80), (12, 142, 243), (12, 74, 137))
TRUE = sample("organelles").labels


class Sitting:
    """A viewer with the organelles and the dock, worked with by clicks and keys alone."""

    def __init__(self, viewer: Any, qtbot: Any) -> None:
        self.viewer, self.qtbot = viewer, qtbot
        _, self.dock = viewer.window.add_plugin_dock_widget("napari-iseg", "Click segmentation")

    @property
    def editor(self) -> Any:
        return self.dock.controller.editor

    @property
    def session(self) -> Any:
        return self.editor.session

    def settle(self) -> None:
        controller = self.dock.controller
        self.qtbot.waitUntil(
            lambda: not controller.worker.busy and self.editor is not None and self.editor.settled,
            timeout=60_000,
        )

    def look_at(self, plane: int) -> None:
        self.viewer.dims.set_current_step(0, plane)
        self.settle()

    def click(self, point: tuple[int, ...], positive: bool = True) -> np.ndarray:
        """A click at a pixel, where the canvas says that pixel lies: in nanometres."""
        image = self.dock.controller.image
        self.dock.controller.click_world(image.data_to_world(point), positive)
        self.settle()
        return self.session.mask

    def press(self, key: str) -> None:
        """A key while the mouse is over the picture."""
        from app_model.types import KeyBinding

        layer = self.viewer.layers.selection.active
        layer.keymap[KeyBinding.from_str(key)](layer)
        self.settle()

    def leave(self) -> None:
        self.dock.shut_down()
        assert self.dock.controller.worker.join(10)
        self.viewer.layers.clear()


@pytest.fixture
def sit(make_napari_viewer: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Opens the window; what is recorded goes into the test's folder, everything else is as installed."""
    from napari_iseg.widgets import click_dock

    preferences = click_dock.Preferences(autosave_folder=tmp_path / "sessions", device="cpu")
    monkeypatch.setattr(click_dock.Preferences, "read", classmethod(lambda _cls: preferences))
    opened: list[Sitting] = []

    def open_window() -> Sitting:
        opened.append(Sitting(make_napari_viewer(), qtbot))
        return opened[-1]

    yield open_window
    for sitting in opened:
        sitting.leave()


def iou(mask: np.ndarray, point: tuple[int, ...]) -> float:
    """With the true organelle under a click."""
    truth = TRUE[point[0]] == TRUE[point]
    return float((mask & truth).sum() / (mask | truth).sum())


def first_object(at: Sitting) -> np.ndarray:
    """Leak, background click, one click too many, undo, commit."""
    leaking = at.click(LEAKS)
    assert leaking[LEAKS[1:]]
    assert leaking[BESIDE[1:]]
    mended = at.click(BESIDE, positive=False)
    assert not mended[BESIDE[1:]]
    assert iou(mended, LEAKS) > max(0.7, iou(leaking, LEAKS))
    probability = at.session.probability
    at.click((9, 240, 120))
    assert not np.array_equal(at.session.mask, mended)
    at.press("Ctrl+Z")
    np.testing.assert_array_equal(at.session.mask, mended)
    np.testing.assert_array_equal(at.session.probability, probability)
    at.press("Enter")
    assert at.session.objects == {1: ((9,),)}
    assert at.dock.label.value() == 2
    np.testing.assert_array_equal(at.session.labels.read((9,)) == 1, mended)
    return mended


def three_more(at: Sitting) -> None:
    """On another slice; then the second object again, with its clicks."""
    at.look_at(12)
    for point in OTHERS:
        assert iou(at.click(point), point) > 0.7
        at.press("Enter")
    assert sorted(at.session.objects) == [1, 2, 3, 4]
    at.press("O")
    at.click(OTHERS[0])
    assert [(c.row, c.col) for c in at.session.clicks] == [OTHERS[0][1:]]
    assert at.session.object_id == 2
    at.click((12, 228, 80))
    at.press("Enter")
    assert sorted(at.session.objects) == [1, 2, 3, 4]
    assert len(at.session.labels.prompts_of(2)[-1].clicks) == 2


def exported(at: Sitting, path: Path) -> Path:
    """Save labels…, with ``path`` given to the dialog."""
    at.dock.ask_for_file = lambda _suggestion, then: then(path)
    at.dock.actions.triggered.emit("save")
    at.settle()
    assert path.exists(), at.dock.status.text()
    return path


def test_a_sitting_a_flat_battery_and_the_labels_for_a_colleague(sit, tmp_path):
    evening = sit()
    evening.viewer.open_sample("napari-iseg", "organelles")
    assert evening.dock.models.card.is_local  # nothing asks for a download
    evening.look_at(9)
    first = first_object(evening)
    three_more(evening)
    evening.look_at(9)
    open_object = evening.click((9, 61, 86))  # not committed when the battery dies
    labels = evening.session.labels.read((12,))
    disk = tmp_path / "what-the-disk-holds.iseg"
    shutil.copytree(evening.session.folder, disk)  # as it is now, with the session open
    evening.leave()

    morning = sit()
    assert morning.viewer.open(str(disk / "session.toml"), plugin="napari-iseg") == []
    morning.qtbot.waitUntil(
        lambda: morning.editor is not None and morning.session is not None, timeout=60_000
    )
    morning.settle()
    assert morning.dock.controller.image.name == "organelles"
    assert sorted(morning.session.objects) == [1, 2, 3, 4]
    assert morning.viewer.dims.current_step[0] == 9
    np.testing.assert_array_equal(morning.session.mask, open_object)
    np.testing.assert_array_equal(morning.session.labels.read((9,)) == 1, first)
    np.testing.assert_array_equal(morning.session.labels.read((12,)), labels)
    steps = 0
    while morning.session.can_undo:
        morning.press("Ctrl+Z")
        steps += 1
    assert steps == 2 + 1 + 3 * 2 + 3 + 1  # first object; three more; one reopened, clicked, committed; open
    assert morning.session.objects == {}
    assert not morning.session.labels.read((12,)).any()
    for _ in range(steps):
        morning.press("Ctrl+Shift+Z")
    np.testing.assert_array_equal(morning.session.mask, open_object)
    np.testing.assert_array_equal(morning.session.labels.read((12,)), labels)
    check_tiff(exported(morning, tmp_path / "organelles_labels.tif"), first, labels)
    check_ome_zarr(exported(morning, tmp_path / "organelles_labels.zarr"), first, labels)


def check_tiff(path: Path, first: np.ndarray, labels: np.ndarray) -> None:
    """As Fiji reads it: nanometres, 8 a pixel, 40 between slices."""
    with tifffile.TiffFile(path) as tiff:
        about, page = tiff.imagej_metadata, tiff.pages.first
        assert (about["unit"], about["spacing"], about["slices"]) == ("nm", 40.0, 16)
        for tag in ("XResolution", "YResolution"):
            count, length = page.tags[tag].value
            assert length / count == pytest.approx(8)
        assert tiff.series[0].axes == "ZYX"
        stack = tiff.asarray()
    assert stack.dtype == np.uint16
    np.testing.assert_array_equal(stack[9] == 1, first)
    np.testing.assert_array_equal(stack[12], labels)


def check_ome_zarr(path: Path, first: np.ndarray, labels: np.ndarray) -> None:
    """As another program reads it."""
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    (node,) = list(Reader(parse_url(path))())[:1]
    axes = node.metadata["axes"]
    assert [(axis["name"], axis["unit"]) for axis in axes] == [(name, "nanometer") for name in "zyx"]
    (transforms, *_) = node.metadata["coordinateTransformations"]
    steps = {step["type"]: step for step in transforms}
    assert steps["scale"]["scale"] == [40.0, 8.0, 8.0]
    assert steps["translation"]["translation"] == [0.0, 0.0, 0.0]
    stack = np.asarray(node.data[0])
    np.testing.assert_array_equal(stack[9] == 1, first)
    np.testing.assert_array_equal(stack[12], labels)
