"""Take the pictures of the few-shot tutorials in a real window.

xvfb-run -a -s "-screen 0 1280x1024x24" python benchmarks/few_shot_pictures.py docs/images
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import napari
import numpy as np
from PIL import Image
from qtpy.QtWidgets import QApplication

from napari_iseg.samples import sample
from napari_iseg.widgets.fewshot_dock import FewShotDock
from napari_iseg.widgets.preferences import Preferences

CORNERS = ((20, 20), (20, 200), (200, 30), (200, 200))  # complete tiles of the scene
SIDE = 100
LAST_HOUSE = 42  # of the labels; trees and roads follow


class Photographer:
    """A viewer with the dock, and its pictures."""

    def __init__(self, target: Path, home: Path) -> None:
        self.target = target
        self.viewer = napari.Viewer(show=True)
        self.viewer.window.resize(1240, 960)
        self.dock = FewShotDock(self.viewer, preferences=Preferences(autosave_folder=home))
        self.viewer.window.add_dock_widget(self.dock, name="Few-shot segmentation")

    def wait(self, until: Any, seconds: float = 900) -> None:
        end = time.monotonic() + seconds
        while not until() and time.monotonic() < end:
            QApplication.processEvents()
            time.sleep(0.01)

    def run(self) -> None:
        self.dock.run_button.click()

    def settle(self) -> None:
        controller = self.dock.controller
        self.wait(lambda: not controller.running and not controller.worker.busy)

    def take(self, name: str) -> None:
        self.wait(lambda: False, 0.5)
        pixels = self.viewer.window.screenshot(canvas_only=False, flash=False)
        picture = Image.fromarray(pixels[..., :3]).quantize(128, dither=Image.Dither.NONE)
        picture.save(self.target / f"{name}.png", optimize=True)

    def close(self) -> None:
        self.dock.shut_down()
        self.viewer.close()


def volume(photographer: Photographer) -> None:
    """Three slices of the organelles, in mid-run, and one slice rejected."""
    viewer, dock, stack = photographer.viewer, photographer.dock, sample("organelles")
    labels = np.zeros(stack.labels.shape, np.uint8)
    for plane in (2, 8, 14):
        labels[plane] = stack.labels[plane] > 0
    place = {"scale": stack.scale, "units": stack.units}
    viewer.add_image(stack.image, name="organelles", **place)
    viewer.add_labels(labels, name="some slices", **place)
    viewer.dims.set_current_step(0, 5)
    photographer.run()
    photographer.wait(lambda: dock.progress.value() >= 6)
    photographer.take("few-slices-running")
    photographer.settle()
    viewer.dims.set_current_step(0, 11)
    dock.accept_button.click()
    photographer.settle()
    viewer.dims.set_current_step(0, 6)
    dock.reject_button.click()
    photographer.take("few-slices-decided")


def scene(photographer: Photographer) -> None:
    """Four complete tiles of the aerial sample, a polygon of interest, stopped and finished."""
    viewer, dock, town = photographer.viewer, photographer.dock, sample("aerial")
    part = (slice(180, 500), slice(180, 500))
    truth = (town.labels[part] > 0) & (town.labels[part] <= LAST_HOUSE)
    labels = np.zeros(truth.shape, np.uint8)
    tiles = []
    for row, col in CORNERS:
        tile = (slice(row, row + SIDE), slice(col, col + SIDE))
        labels[tile] = truth[tile]
        bottom, right = row + SIDE - 1, col + SIDE - 1
        tiles.append([(row, col), (row, right), (bottom, right), (bottom, col)])
    viewer.add_image(np.ascontiguousarray(town.image[part]), rgb=True, name="town")
    viewer.add_labels(labels, name="buildings")
    line = {"face_color": "transparent", "edge_width": 2}
    viewer.add_shapes(tiles, shape_type="rectangle", name="complete tiles", edge_color="cyan", **line)
    viewer.add_shapes(
        [[(30, 30), (20, 270), (280, 300), (300, 50)]],
        shape_type="polygon", name="area of interest", edge_color="yellow", **line,
    )  # fmt: skip
    dock.tile.setValue(160)
    dock.region.setCurrentText("inside area of interest")
    dock.unlabelled.setCurrentText("background in complete tiles")
    viewer.layers.selection.active = viewer.layers["town"]
    photographer.run()
    photographer.wait(lambda: dock.progress.value() >= 6)
    dock.cancel_button.click()
    photographer.settle()
    photographer.take("scene-stopped")
    photographer.run()
    photographer.settle()
    photographer.take("scene-done")


def main() -> None:
    target = Path(sys.argv[1])
    for story in (volume, scene):
        with tempfile.TemporaryDirectory() as home:
            photographer = Photographer(target, Path(home))
            story(photographer)
            photographer.close()


if __name__ == "__main__":
    main()
