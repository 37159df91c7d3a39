"""A SAM loaded and asked in a viewer that has drawn with Mesa: the process must live on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from napari_iseg import backends

TINY = {
    "embed_dim": 32,
    "depth": 1,
    "num_heads": 2,
    "global_attn_indexes": [0],
    "img_size": 64,
    "prompt_dim": 32,
    "mlp_dim": 32,
    "iou_dim": 16,
}
SCRIPT = """
import sys
import threading

import napari
import numpy as np
from qtpy.QtWidgets import QApplication

viewer = napari.Viewer(show=True)
image = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
viewer.add_image(image)
for _ in range(10):
    QApplication.processEvents()
drawn = viewer.screenshot(canvas_only=True, flash=False).std()

import napari_iseg as iseg

def work():
    session = iseg.Session(image, iseg.load_model(sys.argv[1], device="cpu"))
    session.box((5, 5, 30, 40))
    session.click((10, 10))

thread = threading.Thread(target=work)  # as the dock does it
thread.start()
while thread.is_alive():
    QApplication.processEvents()
    thread.join(0.01)
viewer.add_image(image, colormap="inferno")
for _ in range(10):
    QApplication.processEvents()
viewer.screenshot(canvas_only=True, flash=False)
print("alive", drawn > 5, "torchvision" in sys.modules, bool(sys.modules.get("triton")))
viewer.close()
"""


def test_a_viewer_that_has_drawn_survives_segment_anything(tmp_path: Path) -> None:
    checkpoint = tmp_path / "tiny.pth"
    torch.save(backends.build("sam", TINY).state_dict(), checkpoint)
    command = [sys.executable, "-c", SCRIPT, str(checkpoint)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.strip().splitlines()[-1] == "alive True True False"
