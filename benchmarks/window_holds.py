"""How long the click dock takes to be drawn, and holds the window.

    python benchmarks/window_holds.py [--bare]

Needs a display. Each figure is the longest time between two turns of the event loop during a step, with the
real starter; on a busy machine it counts the waiting for a processor too. ``--bare`` has napari add such
layers without the dock.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import napari
import numpy as np
import skimage.data
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication

if TYPE_CHECKING:
    from napari_iseg.widgets.click_controller import ClickController

STEPS = ["commit", "click", "commit", "click", "probability", "probability", "probability", "undo", "reset"]


class Holds:
    """The longest gap between two beats of a timer, since it was last asked."""

    def __init__(self) -> None:
        self._last, self._worst = time.perf_counter(), 0.0
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)
        self._timer.start(2)

    def _beat(self) -> None:
        now = time.perf_counter()
        self._worst, self._last = max(self._worst, now - self._last), now

    def take(self) -> float:
        worst, self._worst = self._worst, 0.0
        return 1000 * worst


def turn(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        QApplication.processEvents()
        time.sleep(0.0005)


def rest(controller: ClickController) -> None:
    """Wait until everything asked for is done."""
    while controller.worker.busy or controller.editor is None or not controller.editor.settled:
        turn(0.01)


def bare(viewer: napari.Viewer) -> None:
    """What napari takes for its first layers of each kind, and for more of one."""
    holds, labels = Holds(), np.zeros(skimage.data.coins().shape, np.uint8)
    turn(1)
    holds.take()
    for name, add in [
        ("points", lambda: viewer.add_points(np.zeros((0, 2)))),
        ("labels", lambda: viewer.add_labels(labels)),
        ("labels again", lambda: viewer.add_labels(labels.astype(np.uint32))),
        ("and again", lambda: viewer.add_labels(labels.astype(np.uint32))),
        ("image", lambda: viewer.add_image(labels.astype(np.float32))),
    ]:
        add()
        turn(1)
        print(f"{name:24s}{holds.take():6.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bare", action="store_true", help="layers that napari adds without the dock")
    options = parser.parse_args()
    viewer = napari.Viewer()
    viewer.add_image(skimage.data.coins())
    turn(4)
    if options.bare:
        bare(viewer)
    else:
        with_dock(viewer)
    viewer.close()


def with_dock(viewer: napari.Viewer) -> None:
    """The dock from its opening to the first objects."""
    from napari_iseg.widgets.click_dock import ClickDock

    started = time.perf_counter()
    dock = ClickDock(viewer)
    viewer.window.add_dock_widget(dock)
    QApplication.processEvents()
    print(f"drawn after {time.perf_counter() - started:.2f} s")
    controller, holds = dock.controller, Holds()
    while controller.editor is None or not controller.editor.layers.are_shown:
        turn(0.01)
    turn(0.1)
    print(f"{'layer of clicks':24s}{holds.take():6.0f} ms")
    turn(2)
    rest(controller)
    turn(0.5)
    print(f"{'model, layer of objects':24s}{holds.take():6.0f} ms")
    places = iter([(120, 120), (120, 160)])
    for name, at in [("first click", (62, 47)), ("click", (70, 50)), *((step, None) for step in STEPS)]:
        if "click" in name:
            controller.click_world(at or next(places), True)
        else:
            controller.perform(name)
        turn(0.6)
        rest(controller)
        print(f"{name:24s}{holds.take():6.0f} ms")
    dock.shut_down()


if __name__ == "__main__":
    main()
