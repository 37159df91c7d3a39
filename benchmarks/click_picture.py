"""README's picture: the sample cells in the viewer, two nuclei committed, a third made by two clicks.

    python benchmarks/click_picture.py docs/images/click-segmentation.png

Needs a display.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import napari
from boxes_tutorial import wait
from PIL import Image

from napari_iseg.samples import sample
from napari_iseg.widgets.click_dock import ClickDock
from napari_iseg.widgets.preferences import Preferences

STEPS = [(218, 276), "commit", (434, 216), "commit", (105, 206), (-87, 229)]  # a negative row: background


def main(target: Path, folder: Path) -> None:
    cells = sample("cells")
    viewer = napari.Viewer(title="napari-iseg")
    viewer.window.resize(1240, 860)
    image = viewer.add_image(cells.image, name="cells", scale=cells.scale, units=cells.units)
    dock = ClickDock(viewer, preferences=Preferences(autosave_folder=folder))
    viewer.window.add_dock_widget(dock, name="Click segmentation", area="right")
    viewer.reset_view()
    wait(dock)
    for step in STEPS:
        if isinstance(step, str):
            dock.controller.perform(step)
        else:
            row, col = step
            dock.controller.click_world(image.data_to_world((abs(row), col)), row > 0)
        wait(dock)
    Image.fromarray(viewer.window.screenshot(canvas_only=False, flash=False)[..., :3]).save(
        target, optimize=True
    )
    dock.shut_down()
    dock.controller.worker.join(10)
    viewer.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        main(Path(sys.argv[1]), Path(made))
