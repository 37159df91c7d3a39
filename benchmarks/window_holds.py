"""How long the click dock takes to be drawn, and holds the window: `python benchmarks/window_holds.py`.

Needs a display. Each figure is the longest time between two turns of the event loop during a step, with the
real starter; on a busy machine it counts the waiting for a processor too.
"""

from __future__ import annotations

import time

import napari
import skimage.data
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication

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


def main() -> None:
    viewer = napari.Viewer()
    viewer.add_image(skimage.data.coins())
    turn(4)
    from napari_iseg.widgets.click_dock import ClickDock

    started = time.perf_counter()
    dock = ClickDock(viewer)
    viewer.window.add_dock_widget(dock)
    QApplication.processEvents()
    print(f"drawn after {time.perf_counter() - started:.2f} s")
    controller, holds = dock.controller, Holds()
    turn(4)
    print(f"{'layer of clicks, model':24s}{holds.take():6.0f} ms")
    places = iter([(120, 120), (120, 160)])
    for name, at in [("first click", (62, 47)), ("click", (70, 50)), *((step, None) for step in STEPS)]:
        if "click" in name:
            controller.click_world(at or next(places), True)
        else:
            controller.perform(name)
        turn(0.6)
        while controller.worker.busy or controller.editor is None or not controller.editor.settled:
            turn(0.01)
        print(f"{name:24s}{holds.take():6.0f} ms")
    dock.shut_down()
    viewer.close()


if __name__ == "__main__":
    main()
