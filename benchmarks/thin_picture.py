"""The picture of docs/how-to/thin-structures.md, made as its reader makes it, in a viewer.

    xvfb-run -a -s "-screen 0 1500x1000x24" python benchmarks/thin_picture.py [--clicks 360,388 434,639]

Clicks on vessels of scikit-image's retina, waits for each answer, says how many pixels it has, and writes
``thin-vessels.png``.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import napari
from boxes_tutorial import present_mask, save, wait

from napari_iseg.samples import sample
from napari_iseg.widgets.click_dock import ClickDock
from napari_iseg.widgets.preferences import Preferences


def position(text: str) -> tuple[float, float]:
    row, col = text.split(",")
    return float(row), float(col)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clicks", nargs="+", type=position, default=[(360.0, 388.0), (434.0, 639.0)])
    parser.add_argument("--background", nargs="*", type=position, default=[], help="clicked after these")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    options = parser.parse_args()
    picture = sample("retina")
    viewer = napari.Viewer(title="napari-iseg")
    viewer.window.resize(1400, 900)
    image = viewer.add_image(picture.image, name=picture.name, rgb=picture.rgb)
    with tempfile.TemporaryDirectory() as folder:
        dock = ClickDock(viewer, preferences=Preferences(autosave_folder=Path(folder)))
        viewer.window.add_dock_widget(dock, name="Click segmentation", area="right")
        viewer.reset_view()
        wait(dock)
        signs = [True] * len(options.clicks) + [False] * len(options.background)
        for where, positive in zip([*options.clicks, *options.background], signs, strict=True):
            dock.controller.click_world(image.data_to_world(where), positive)
            wait(dock)
            print(f"{where}: {present_mask(dock, picture.image.shape[:2]).sum()} pixels")
        save(viewer, options.out / "thin-vessels.png")
        dock.shut_down()
    viewer.close()


if __name__ == "__main__":
    main()
