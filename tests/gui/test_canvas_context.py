"""Layers come and go without ending the program, also where Mesa draws in software."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

STEPS = """
import gc, os, sys, time
from pathlib import Path
import napari, numpy as np
from qtpy.QtWidgets import QApplication
sys.path.insert(0, sys.argv[1])
from gui.fakes import FakeLoader
from napari_iseg.widgets.click_dock import ClickDock
from napari_iseg.widgets.preferences import Preferences

def drawn(done=lambda: True):
    end = time.monotonic() + 0.1
    while time.monotonic() < end or not done():
        app.processEvents()
        time.sleep(0.005)

def at_rest():
    return editor.settled and not dock.controller.worker.busy

gc.freeze()  # napari looks for garbage at each layer it removes; what is there before is none
viewer, app = napari.Viewer(), QApplication.instance()
stack = np.random.default_rng(1).integers(0, 255, (8, 64, 64), dtype=np.uint8)
image = viewer.add_image(stack, name="stack")
viewer.dims.set_current_step(0, 5)
preferences = Preferences(preload=False, autosave_folder=Path(sys.argv[2]))
dock = ClickDock(viewer, loader=FakeLoader(), preferences=preferences)
viewer.window.add_dock_widget(dock)
dock.controller.ready.points_now()
drawn()
editor = dock.controller.editor
dock.controller.click_world(image.data_to_world((5, 30, 30)), True)
drawn(at_rest)
dock.controller.perform("commit")
drawn(at_rest)
viewer.layers.remove(image)
drawn()
viewer.add_image(stack, name="again")
drawn()
print([layer.name for layer in viewer.layers], flush=True)
os._exit(0)  # closing is for other tests
"""


def test_the_image_under_committed_objects_can_be_deleted(tmp_path):
    """Where Mesa draws in software, the program was ended; other drivers do not mind."""
    command = [sys.executable, "-c", STEPS, str(Path(__file__).parents[1]), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr)
    assert done.stdout == "['stack objects', 'again', 'again clicks']\n"
    assert "Traceback" not in done.stderr
