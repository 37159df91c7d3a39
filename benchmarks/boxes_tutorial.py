"""The pictures of docs/tutorials/boxes-and-fine-masks.md, made as its reader makes them, in a viewer.

    xvfb-run -a -s "-screen 0 1500x1000x24" python benchmarks/boxes_tutorial.py

Draws a box around one object of a sample, waits for the mask, refines its edges, and writes
``box-coarse.png`` and ``box-refined.png`` with what was measured against the sample's true labels.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
import numpy.typing as npt
from qtpy.QtWidgets import QApplication

from napari_iseg.evaluation.dis_metrics import boundary_iou
from napari_iseg.samples import sample
from napari_iseg.widgets.click_dock import ClickDock
from napari_iseg.widgets.preferences import Preferences

Mask = npt.NDArray[np.bool_]
LATEST = 120.0  # seconds for one answer
MARGIN = 2  # pixels that a person leaves between the object and the box


def wait(dock: ClickDock, done: Callable[[], bool] = lambda: True) -> None:
    """Let napari work until everything asked for is there."""
    end, controller = time.monotonic() + LATEST, dock.controller
    while controller.editor is None or controller.worker.busy or not controller.editor.settled or not done():
        if time.monotonic() > end:
            raise SystemExit(f"No answer after {LATEST:.0f} s; the dock says: {dock.status.text()}")
        QApplication.processEvents()
        time.sleep(0.01)
    for _ in range(20):
        QApplication.processEvents()


def choose(dock: ClickDock, model: str, edges: str) -> None:
    """Both models, in the dock's lists."""
    if dock.edge_models.findText(edges) < 0:
        raise SystemExit(f"The model {edges} is not on this machine.")
    dock.edge_models.setCurrentText(edges)
    if not dock.use_model(model):
        raise SystemExit(f"The model {model} is not on this machine.")


def present_mask(dock: ClickDock, shape: tuple[int, int]) -> Mask:
    """The current object's mask on the whole plane."""
    mask = np.zeros(shape, np.bool_)
    patch = dock.controller.editor.session.patch
    if patch is not None:
        patch.paste_mask(mask)
    return mask


def draw_box(dock: ClickDock, truth: Mask) -> None:
    """The button, then a rectangle around the object, from its first pixel's edge to its last one's."""
    dock.controller.perform("box")
    rows, cols = np.flatnonzero(truth.any(1)), np.flatnonzero(truth.any(0))
    top, left = rows[0] - 0.5 - MARGIN, cols[0] - 0.5 - MARGIN
    bottom, right = rows[-1] + 0.5 + MARGIN, cols[-1] + 0.5 + MARGIN
    corners = np.array([[top, left], [top, right], [bottom, right], [bottom, left]])
    layer = dock.controller.editor.layers.boxes.layer
    if layer is None:
        raise SystemExit("The model takes no boxes.")
    layer.add(corners, shape_type="rectangle")


def report(name: str, mask: Mask, truth: Mask) -> None:
    """One line against the truth."""
    iou = np.count_nonzero(mask & truth) / np.count_nonzero(mask | truth)
    print(f"{name:8} IoU {iou:.3f}  boundary IoU {boundary_iou(mask, truth):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sample", default="aerial")
    parser.add_argument("--label", type=int, default=13, help="of the sample's true labels")
    parser.add_argument("--model", default="sam-starter")
    parser.add_argument("--edges", default="is5net-starter")
    parser.add_argument("--zoom", type=float, default=8.0, help="screen pixels per pixel")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    options = parser.parse_args()
    picture = sample(options.sample)
    truth = np.asarray(picture.labels == options.label)
    viewer = napari.Viewer(title="napari-iseg")
    viewer.window.resize(1400, 900)
    viewer.add_image(picture.image, name=picture.name, rgb=picture.rgb)
    with tempfile.TemporaryDirectory() as folder:
        dock = ClickDock(viewer, preferences=Preferences(autosave_folder=Path(folder)))
        viewer.window.add_dock_widget(dock, name="Click segmentation", area="right")
        look(viewer, truth, options.zoom)
        choose(dock, options.model, options.edges)
        wait(dock)
        draw_box(dock, truth)
        wait(dock, lambda: present_mask(dock, truth.shape).any())
        coarse = present_mask(dock, truth.shape)
        save(viewer, options.out / "box-coarse.png")
        dock.controller.perform("refine_edges")
        wait(dock)
        refined = present_mask(dock, truth.shape)
        save(viewer, options.out / "box-refined.png")
        dock.shut_down()
    report("coarse", coarse, truth)
    report("refined", refined, truth)
    viewer.close()


def look(viewer: Any, truth: Mask, zoom: float) -> None:
    """Bring the object into the middle of the view."""
    viewer.camera.center = [float(np.mean(where)) for where in np.nonzero(truth)]
    viewer.camera.zoom = zoom


def save(viewer: Any, path: Path) -> None:
    """The whole window."""
    viewer.screenshot(str(path), canvas_only=False, flash=False)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
