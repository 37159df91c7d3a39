"""The few-shot dock in a viewer, with a predictor that compares grey values."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "fewshot"))

from run_fakes import GreyPredictor, blobs, sparse

from napari_iseg.cli.demo import why_no_window

if why_no_window() is None:
    from napari_iseg.widgets.fewshot_dock import FewShotDock
    from napari_iseg.widgets.preferences import Preferences

__all__ = ["TRUTH", "VOLUME", "FewShotBench", "sparse"]

VOLUME, TRUTH = blobs()


class FewShotBench:
    """A viewer with the dock, and short ways to use it."""

    def __init__(self, viewer: Any, qtbot: Any, folder: Path) -> None:
        self.viewer, self.qtbot, self.folder = viewer, qtbot, folder
        self.fake = GreyPredictor()

    def open(self, volume: Any = VOLUME, labels: Any = None, **layer: Any) -> Any:
        self.image = self.viewer.add_image(volume, name="stack", **layer)
        if labels is not None:
            self.viewer.add_labels(labels, name="some", **layer)
        self.dock = FewShotDock(
            self.viewer,
            models={"grey": "nearest grey"},
            load=lambda *_: self.fake,
            preferences=Preferences(autosave_folder=self.folder),
        )
        self.viewer.window.add_dock_widget(self.dock, name="Few-shot")
        return self.dock

    def run(self) -> None:
        self.dock.run_button.click()
        self.settle()

    def settle(self) -> None:
        controller = self.dock.controller
        at_rest = lambda: not (controller.running or controller.worker.busy or controller.news.busy)  # noqa: E731
        self.qtbot.waitUntil(at_rest, timeout=60_000)

    def commit(self, clicks, plane: int) -> None:
        """An object on a plane by the click dock of that bench."""
        clicks.viewer.dims.set_point(0, plane)
        clicks.click((plane, 30, 30))
        clicks.do("commit")
        self.settle()

    def show(self, plane: int) -> None:
        self.dock.controller.ways.go_to((plane,))

    @property
    def result(self) -> np.ndarray:
        data = self.dock.controller.results.layer.data
        return np.asarray(data)

    @property
    def cells(self) -> np.ndarray:
        return self.dock.strip.values[0]
